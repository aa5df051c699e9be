"""Start a program of the stack, wait until it answers, and end it with all that it started."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.local.errors import StackError
from deployments.local.processes.identity import MARK, Identity, marked, signal_and_wait

LOG_LINES = 20
POLL_SECONDS = 0.05
TERMINATE_SECONDS = 5.0
KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that a program runs as, when it cannot run as ours."""

    uid: int
    gid: int


async def _at_once() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the stack: how to start it, and how to know that it answers.

    Attributes:
        name: what messages call it.
        command: the program and its arguments; never a shell line.
        log: file that receives its output; the file of the start before is kept as .1. No other
            program that runs at the same time may have it: the log is also the program's mark.
        ready: polled until it returns True; returns False while the server is still starting.
        address: where it answers, without a password, as `status` shows it.
        environment: variables that are set on top of the parent's.
        start_seconds: how long it may take until it is ready.
        without: prefixes of the parent's variables that it does not get.
        prepare: run before each start and restart, when nothing of the program is alive.
        stop_signal: what asks the program to end.
        stop_seconds: how long it may take to end before it is killed.
        account: whom to run as; None is ourselves. Only root may set it.
        directory: the working directory; None is ours.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    ready: Callable[[], Awaitable[bool]] = _at_once
    address: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 60.0
    without: tuple[str, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    account: Account | None = None
    directory: Path | None = None

    def failed(self, what: str) -> StackError:
        """Return the error that says what happened to the program, with the end of its log."""
        text = f"{self.name} {what}. The last lines of {self.log}:\n{last_lines(self.log)}"
        return StackError(text)


def last_lines(log: Path, lines: int = LOG_LINES) -> str:
    """Return the end of a log file, or a sentence saying that there is nothing in it."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").rstrip()
    except FileNotFoundError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) if text else "(the log is empty)"


class Process:
    """A program that was started, in a process group of its own.

    Attributes:
        program: what was started.
        identity: the process.
    """

    def __init__(self, program: Program, process: asyncio.subprocess.Process) -> None:
        self.program = program
        # A process that has ended already gets an identity that no living process has.
        self.identity = Identity.of(process.pid) or Identity(process.pid, -1)
        self._process = process

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Return the exit status once the program ended: -n when signal n ended it."""
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program's process group."""
        if self.identity.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.identity.pid, number)

    async def kill(self) -> None:
        """Kill the program and what it started, as a crash would, and wait until all is gone."""
        self.send(signal.SIGKILL)
        await self._process.wait()
        await signal_and_wait(marked(self.program.log), signal.SIGKILL, KILL_SECONDS)

    async def stop(self) -> None:
        """Ask the program to end, then what it started; kill what has not ended in time."""
        self.send(self.program.stop_signal)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), self.program.stop_seconds)
            await signal_and_wait(marked(self.program.log), signal.SIGTERM, TERMINATE_SECONDS)
        await self.kill()

    async def until_ready(self) -> None:
        """Wait until the program answers.

        Raises:
            StackError: it ended before, or did not answer in time. With its log's last lines.
        """
        deadline = time.monotonic() + self.program.start_seconds
        while True:
            if not self.running:
                raise self.program.failed(f"ended with status {self._process.returncode}")
            if await self.program.ready():
                return
            if time.monotonic() > deadline:
                seconds = self.program.start_seconds
                raise self.program.failed(f"did not answer within {seconds:g} s")
            await asyncio.sleep(POLL_SECONDS)


async def launch(program: Program) -> Process:
    """Start a program without waiting until it answers.

    Raises:
        StackError: the program cannot be run.
    """
    if program.prepare is not None:
        await program.prepare()
    program.log.parent.mkdir(parents=True, exist_ok=True)
    if program.log.exists():
        program.log.replace(program.log.with_name(program.log.name + ".1"))
    account = program.account
    with program.log.open("wb") as log:
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(program),
                cwd=program.directory,
                start_new_session=True,  # Ctrl-C in a terminal reaches us, and only us
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
        except OSError as error:
            raise StackError(f"{program.name} cannot be started: {error}") from error
    return Process(program, process)


def _environment(program: Program) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(program.without)
    }
    return {**inherited, **program.environment, MARK: str(program.log)}


async def start(program: Program) -> Process:
    """Start a program and wait until it answers; it is stopped again when it does not.

    Raises:
        StackError: with the last lines of its log.
    """
    process = await launch(program)
    try:
        await process.until_ready()
    except BaseException:
        await process.stop()
        raise
    return process


async def run(program: Program) -> None:
    """Run a program that ends by itself, for as long as it has to be ready.

    Raises:
        StackError: it failed, or did not end in time. With its log's last lines.
    """
    process = await launch(program)
    try:
        status = await asyncio.wait_for(process.wait(), program.start_seconds)
    except TimeoutError:
        raise program.failed(f"did not end within {program.start_seconds:g} s") from None
    finally:
        await process.stop()
    if status != 0:
        raise program.failed(f"ended with status {status}")
