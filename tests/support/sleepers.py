"""Programs that do nothing for long, started as programs of the stack or beside them."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployments.local.processes.program import Program

SLEEP = "import time; time.sleep(300)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); {SLEEP}"


@contextmanager
def spawn(code: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", code], **options) as child:
        try:
            yield child
        finally:
            child.kill()


def python(code: str, log: Path, **fields: object) -> Program:
    program = Program("sleeper", (sys.executable, "-u", "-c", code), log)
    return replace(program, **fields)  # type: ignore[arg-type]  # each test names real fields


async def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
