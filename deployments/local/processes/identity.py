"""Find a process again, by its id and start time or by a mark in its environment, and signal it."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import psutil

MARK = "LOCAL_STACK_LOG"
"""The variable that every program of a stack, and whatever it starts, has in its environment."""

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, and not a later one that was given the same id."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return the identity of a living process; None when it has ended or is a zombie."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            started = process.create_time()
        except (psutil.Error, ValueError):
            return None
        # psutil adds the boot time on Linux, which changes whenever the clock is set.
        return cls(pid, round(started - psutil.boot_time() if psutil.LINUX else started, 2))

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        return Identity.of(self.pid) == self


def marked(place: Path) -> list[Identity]:
    """Return the living processes whose program logs to a file, or to any file of a directory.

    Processes of other users are left out: their environment is not ours to read.
    """
    return find(lambda process: place in _log_and_parents(process))


def _log_and_parents(process: psutil.Process) -> tuple[Path, ...]:
    log = process.environ().get(MARK)
    return () if log is None else (Path(log), *Path(log).parents)


def find(wanted: Callable[[psutil.Process], bool]) -> list[Identity]:
    """Return the living processes that are wanted, ourselves and those we may not read left out."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and wanted(process):
                found.append(Identity.of(process.pid))
    return [identity for identity in found if identity is not None]


async def signal_and_wait(
    processes: Iterable[Identity], number: Signals, seconds: float
) -> list[Identity]:
    """Send a signal to each process, and return those that have not ended after some seconds."""
    processes = list(processes)
    for process in processes:
        if process.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
    deadline = time.monotonic() + seconds
    while living := [process for process in processes if process.alive()]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_SECONDS)
    return living
