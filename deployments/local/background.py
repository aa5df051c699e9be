"""Run the stack until a signal ends it: in this process, or in one in the background."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from deployments.local.addresses import StackOptions
from deployments.local.errors import StackError
from deployments.local.processes.identity import signal_and_wait
from deployments.local.processes.leftovers import end_abandoned
from deployments.local.processes.program import last_lines
from deployments.local.processes.state import State, logs, read_state
from deployments.local.stack import running

ROOT = Path(__file__).resolve().parents[2]
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_SECONDS = 900.0
STOP_SECONDS = 120.0
KILL_SECONDS = 10.0
POLL_SECONDS = 0.1
OPTIONS = TypeAdapter(StackOptions)
"""Reads and writes the only argument of `python -m deployments.local.background`."""


async def start(options: StackOptions) -> State:
    """Start the stack in a detached process and return its state once every server answers.

    Raises:
        StackError: it did not come up; with the last lines of its log.
    """
    directory = options.state_directory
    log = logs(directory) / "supervisor.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        supervisor = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, OPTIONS.dump_json(options)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        return await _until_up(directory, supervisor, log)
    except BaseException:
        if supervisor.returncode is None:
            supervisor.terminate()
            await supervisor.wait()
        raise


async def _until_up(directory: Path, supervisor: asyncio.subprocess.Process, log: Path) -> State:
    deadline = time.monotonic() + START_SECONDS
    while not (state := read_state(directory)).up:
        if supervisor.returncode is not None:
            raise StackError(f"The local stack did not start.\n{last_lines(log)}")
        if time.monotonic() > deadline:
            raise StackError(f"The local stack did not start in {START_SECONDS:g} s: see {log}")
        await asyncio.sleep(POLL_SECONDS)
    return state


async def stop(directory: Path) -> bool:
    """Stop the stack of a directory, whoever runs it; return whether anything was alive.

    Raises:
        StackError: something of it does not end.
    """
    state = read_state(directory)
    supervisors = [state.supervisor] if state.supervisor and state.supervisor.alive() else []
    stubborn = await signal_and_wait(supervisors, signal.SIGTERM, STOP_SECONDS)
    await signal_and_wait(stubborn, signal.SIGKILL, KILL_SECONDS)
    leftovers = await end_abandoned(directory)
    return bool(supervisors) or leftovers > 0


async def run(options: StackOptions, show: Callable[[State], None]) -> int:
    """Run the stack until SIGINT, SIGTERM or SIGHUP, and return the exit status.

    Args:
        options: what to start.
        show: called with the state once every server answers.

    Raises:
        StackError: it did not start, or a server ended by itself.
    """
    options = options.resolved()
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in END_SIGNALS:
        loop.add_signal_handler(number, end.set)
    serving = asyncio.create_task(_serve(options, show))
    ending = asyncio.create_task(end.wait())
    await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not serving.done():
        print("Stopping the local stack.", flush=True)
        serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    return 0


async def _serve(options: StackOptions, show: Callable[[State], None]) -> None:
    async with running(options) as stack:
        show(read_state(options.state_directory))
        if stack.supervisor is None:
            print("Another process runs it already.")
            return
        print("The local stack is up; Ctrl-C stops it.", flush=True)
        raise await stack.failed()


def main() -> None:
    """Run the stack that the first argument describes."""
    try:
        asyncio.run(run(OPTIONS.validate_json(sys.argv[1]), lambda _: None))
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
