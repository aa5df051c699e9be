"""Make a data directory startable again after whatever happened to its last Postgres."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from deployments.local.processes.identity import Identity

FAST_SECONDS = 30.0
IMMEDIATE_SECONDS = 5.0


async def end_postmaster(data: Path) -> None:
    """End a Postgres that still runs on the data directory, and clear its lock file.

    Postgres would refuse to start when the lock file names a zombie, or a process that merely
    got the same id since.
    """
    lock = data / "postmaster.pid"
    postmaster = _locked_by(lock)
    if postmaster is not None and _works_on(postmaster.pid, data):
        for number, seconds in ((signal.SIGINT, FAST_SECONDS), (signal.SIGQUIT, IMMEDIATE_SECONDS)):
            await _signal_and_wait([postmaster], number, seconds)
        await _signal_and_wait([postmaster], signal.SIGKILL, IMMEDIATE_SECONDS)
    backends = [identity for pid in _all_pids() if (identity := _backend(pid, data)) is not None]
    await _signal_and_wait(backends, signal.SIGQUIT, IMMEDIATE_SECONDS)
    await _signal_and_wait(backends, signal.SIGKILL, IMMEDIATE_SECONDS)
    lock.unlink(missing_ok=True)


def _locked_by(lock: Path) -> Identity | None:
    try:
        return Identity.of(int(lock.read_text(encoding="utf-8").splitlines()[0]))
    except (FileNotFoundError, IndexError, ValueError):  # none, or torn by a full disk
        return None


def _works_on(pid: int, data: Path) -> bool:
    """Tell whether a process is a Postgres of this data directory."""
    if sys.platform == "linux":
        return _backend(pid, data) is not None
    command = subprocess.run(
        ["/bin/ps", "-o", "command=", "-p", str(pid)], check=False, capture_output=True, text=True
    ).stdout
    return "postgres" in command and str(data) in command


def _all_pids() -> list[int]:
    if sys.platform != "linux":
        return []
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _backend(pid: int, data: Path) -> Identity | None:
    """Return the process when it is called postgres and works in the data directory."""
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
        if name == "postgres" and Path(f"/proc/{pid}/cwd").readlink() == data.resolve():
            return Identity.of(pid)
    return None


async def _signal_and_wait(
    processes: Iterable[Identity], number: signal.Signals, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    living = [process for process in processes if process.alive()]
    for process in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
    while any(process.alive() for process in living):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.02)
