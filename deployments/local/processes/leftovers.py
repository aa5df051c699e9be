"""End what an earlier stack left behind when even its leashes were killed.

A leftover is known by its id and start time from the state file, and on Linux also by a mark
that every program of a stack carries in its environment. Never by its id alone.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from deployments.local.errors import StackError
from deployments.local.processes.identity import Identity
from deployments.local.processes.state import State

MARK = "LOCAL_STACK_DIRECTORY"
LEASH_SECONDS = 30.0
TERMINATE_SECONDS = 5.0
KILL_SECONDS = 10.0


def marked(directory: Path) -> list[Identity]:
    """Return the living processes started for the stack of a directory, on Linux; else none.

    A process of another user is passed over: its environment is not ours to read.
    """
    if sys.platform != "linux":
        return []
    mark = f"{MARK}={directory}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                identity = Identity.of(int(entry.name))
                if identity is not None:
                    found.append(identity)
    return found


async def end_leftovers(directory: Path, state: State) -> int:
    """End every process of an earlier stack; return how many there were.

    Leashes that still live end their programs themselves and get the time for it.

    Raises:
        StackError: one survives SIGKILL.
    """
    leashes = [server.leash for server in state.servers if server.leash.alive()]
    _signal(leashes, signal.SIGTERM)
    await _gone(leashes, LEASH_SECONDS)
    known = {server.process: server.stop_signal for server in state.servers}
    others = set(marked(directory)) - known.keys()
    left = _living({*leashes, *known, *others})
    count = len({*leashes, *left})
    for process, stop_signal in known.items():
        _signal([process], stop_signal)
    _signal(others, signal.SIGTERM)
    await _gone(left, TERMINATE_SECONDS)
    left = _living({*left, *marked(directory)})
    _signal(left, signal.SIGKILL)
    if not await _gone(left, KILL_SECONDS):
        pids = ", ".join(str(identity.pid) for identity in _living(left))
        raise StackError(
            f"Processes {pids} of an earlier stack in {directory} do not end. End them by hand."
        )
    return count


def _living(identities: Iterable[Identity]) -> list[Identity]:
    return [identity for identity in identities if identity.alive()]


def _signal(identities: Iterable[Identity], number: signal.Signals) -> None:
    for identity in _living(identities):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)


async def _gone(identities: Iterable[Identity], seconds: float) -> bool:
    identities = list(identities)
    deadline = time.monotonic() + seconds
    while _living(identities):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
