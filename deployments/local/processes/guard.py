"""End a stack's servers when the stack's own process was killed.

    python -m deployments.local.processes.guard STATE_DIRECTORY PID

The process PID starts its guard before its servers, and ends it after them. When PID dies first,
even by kill -9, the guard ends the servers. When both are killed, `down` or the next start does.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CHECK_SECONDS = 0.2


@asynccontextmanager
async def guarded(directory: Path) -> AsyncIterator[None]:
    """Have a guard for the servers that this process starts for a state directory."""
    guard = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(directory), str(os.getpid())),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C in a terminal must not end it
    )
    try:
        yield
    finally:
        if guard.returncode is None:
            guard.terminate()
        await guard.wait()


def main() -> None:
    """Wait until our parent is gone, and end what it left."""
    directory, parent = Path(sys.argv[1]), int(sys.argv[2])
    # The parent told us its id: it may be dead by now, and our parent be another process.
    while os.getppid() == parent:
        time.sleep(CHECK_SECONDS)
    # Imported only here: it takes 60 MB, and guards hardly ever need it.
    from deployments.local.processes.leftovers import end_abandoned  # noqa: PLC0415

    asyncio.run(end_abandoned(directory))


if __name__ == "__main__":
    main()
