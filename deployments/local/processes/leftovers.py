"""End the servers of a stack whose own process died without doing so."""

import asyncio
import signal
from pathlib import Path

from deployments.local.errors import StackError
from deployments.local.processes.identity import marked, signal_and_wait
from deployments.local.processes.state import State, lock, logs, read_state

TERMINATE_SECONDS = 5.0
KILL_SECONDS = 10.0
POLL_SECONDS = 0.1


async def end_leftovers(directory: Path, state: State) -> int:
    """End every process of an earlier stack; return how many there were.

    They are known by the state file and by their marks. Only the holder of the directory's lock
    may do this: another's servers are no leftovers.

    Raises:
        StackError: one survives SIGKILL.
    """
    recorded = {server.process for server in state.servers if server.process.alive()}
    others = set(marked(logs(directory))) - recorded
    await asyncio.gather(
        *(
            signal_and_wait([server.process], server.stop_signal, TERMINATE_SECONDS)
            for server in state.servers
        ),
        signal_and_wait(others, signal.SIGTERM, TERMINATE_SECONDS),
    )
    left = {*recorded, *others, *marked(logs(directory))}
    if alive := await signal_and_wait(left, signal.SIGKILL, KILL_SECONDS):
        pids = ", ".join(str(process.pid) for process in alive)
        raise StackError(
            f"Processes {pids} of an earlier stack in {directory} do not end. End them by hand."
        )
    return len(recorded | others)


async def end_abandoned(directory: Path) -> int:
    """End what a stack left whose own process is gone; return how many processes there were.

    A stack that another process runs, or starts meanwhile, is left alone.

    Raises:
        StackError: one survives SIGKILL.
    """
    while True:
        with lock(directory) as ours:
            if ours:
                return await end_leftovers(directory, read_state(directory))
        if read_state(directory).running:
            return 0
        await asyncio.sleep(POLL_SECONDS)
