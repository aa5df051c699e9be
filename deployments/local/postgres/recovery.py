"""Make a data directory startable again after whatever happened to its last Postgres."""

import asyncio
import signal
from pathlib import Path

import psutil

from deployments.local.processes.identity import Identity, find, signal_and_wait

FAST_SECONDS = 30.0
IMMEDIATE_SECONDS = 5.0


async def end_postgres(data: Path) -> None:
    """End a Postgres that still runs on the data directory, and remove its lock file.

    Postgres does not start while the lock file names a process, be it a zombie or one that was
    given the same id later, nor while a process of the last server is alive.
    """
    lock = data / "postmaster.pid"
    postmaster = _locked_by(lock)
    running = await asyncio.to_thread(_running_on, data)
    if postmaster in running:
        for number, seconds in ((signal.SIGINT, FAST_SECONDS), (signal.SIGQUIT, IMMEDIATE_SECONDS)):
            await signal_and_wait([postmaster], number, seconds)
        await signal_and_wait([postmaster], signal.SIGKILL, IMMEDIATE_SECONDS)
        running = await asyncio.to_thread(_running_on, data)
    left = await signal_and_wait(running, signal.SIGQUIT, IMMEDIATE_SECONDS)
    await signal_and_wait(left, signal.SIGKILL, IMMEDIATE_SECONDS)
    lock.unlink(missing_ok=True)


def _locked_by(lock: Path) -> Identity | None:
    try:
        return Identity.of(int(lock.read_text(encoding="utf-8").splitlines()[0]))
    except (FileNotFoundError, IndexError, ValueError):  # none, or cut short by a full disk
        return None


def _running_on(data: Path) -> list[Identity]:
    """Return the processes that are called postgres and work in the data directory."""
    directory = str(data.resolve())

    def serves(process: psutil.Process) -> bool:
        return bool(process.name() == "postgres" and process.cwd() == directory)

    return find(serves)
