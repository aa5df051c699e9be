"""Programs that do nothing for long, started under a leash or beside it."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployments.local.processes.program import Program

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc are Linux's")
SLEEP = "import time; time.sleep(300)"
NOT_AT_ONCE = "import time; time.sleep(0.5)"
"""What is gone before it is looked at counts as failed."""

STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); {SLEEP}"


async def at_once() -> bool:
    return True


def spawn(code: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], **options)


def python(code: str, log: Path, **fields: object) -> Program:
    program = Program("sleeper", (sys.executable, "-u", "-c", code), log, at_once)
    return replace(program, **fields)  # type: ignore[arg-type]  # each test names real fields


async def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
