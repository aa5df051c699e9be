"""Start the stack's programs so that none outlives us.

Every program runs under a leash (leash.py), which ends it when our end of a pipe closes. What
survives even the death of both is found again by `Identity`: a process id with its start time,
never the id alone.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.local.errors import StackError
from deployments.local.processes.identity import Identity

LEASH = Path(__file__).with_name("leash.py")
LOG_LINES = 20
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group a program runs as, when it cannot be ours."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Program:
    """A server of the stack: how to start it, and how to know that it answers.

    Attributes:
        name: what messages and the log file call it.
        command: the program and its arguments; never a shell line.
        log: file that receives its output; the one of the start before is kept beside it as .1.
        ready: polled until it returns True; returns False while the server is still starting.
        environment: variables set on top of the parent's.
        start_seconds: how long it may take until it is ready.
        without: beginnings of variable names not passed on from the parent's environment.
        prepare: run before each start and restart, when nothing of the program is alive.
        stop_signal: what asks the program to end.
        stop_seconds: how long it may take to end before it is killed.
        account: whom to run as; None is ourselves. Only root may set it.
        directory: the working directory; None is ours.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 60.0
    without: tuple[str, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    account: Account | None = None
    directory: Path | None = None


def last_lines(log: Path, lines: int = LOG_LINES) -> str:
    """Return the end of a log file, or a sentence saying that there is nothing in it."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").rstrip()
    except FileNotFoundError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) if text else "(the log is empty)"


class Process:
    """A program that runs under its leash.

    Attributes:
        program: what runs.
        leash: the leash's identity.
        identity: the program's own.
    """

    def __init__(
        self,
        program: Program,
        process: asyncio.subprocess.Process,
        leash: Identity,
        identity: Identity,
    ) -> None:
        self.program = program
        self.leash = leash
        self.identity = identity
        self._process = process

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Return the exit status once the program ended: 128 + n when signal n ended it."""
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program's process group, not to its leash."""
        if self.identity.alive():
            os.killpg(self.identity.pid, number)

    async def kill(self) -> None:
        """Kill the program's process group at once, as a crash would."""
        self.send(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        """End the program and wait until it is gone; does nothing when it is."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self.running:
            self._process.terminate()
        try:
            # The leash itself gives up after the program's time and its own for killing.
            await asyncio.wait_for(self._process.wait(), self.program.stop_seconds + 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self.send(signal.SIGKILL)  # alive only if the leash was killed

    async def until_ready(self) -> None:
        """Wait until the program answers.

        Raises:
            StackError: it ended before, or did not answer in time. With its log's last lines.
        """
        deadline = time.monotonic() + self.program.start_seconds
        while True:
            if not self.running:
                raise StackError(self._trouble(f"ended with status {self._process.returncode}"))
            if await self.program.ready():
                return
            if time.monotonic() > deadline:
                seconds = self.program.start_seconds
                raise StackError(self._trouble(f"did not answer within {seconds:g} s"))
            await asyncio.sleep(POLL_SECONDS)

    def _trouble(self, what: str) -> str:
        log = self.program.log
        return f"{self.program.name} {what}. The last lines of {log}:\n{last_lines(log)}"


async def launch(program: Program) -> Process:
    """Start a program under a leash, without waiting until it answers.

    Raises:
        StackError: the leash did not start, or the program was gone at once.
    """
    if program.prepare is not None:
        await program.prepare()
    program.log.parent.mkdir(parents=True, exist_ok=True)
    if program.log.exists():
        program.log.replace(program.log.with_name(program.log.name + ".1"))
    command = [sys.executable, "-I", "-S", str(LEASH), "--grace", str(program.stop_seconds)]
    command += ["--signal", str(int(program.stop_signal)), "--supervisor", str(os.getpid())]
    if program.account is not None:
        command += ["--account", str(program.account.uid), str(program.account.gid)]
    with program.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--",
            *program.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=_environment(program),
            cwd=program.directory,
            start_new_session=True,
        )
    if process.stdout is None:
        raise StackError(f"{program.name}: its leash has no output to read")
    try:
        line = await process.stdout.readline()
    except BaseException:
        process.terminate()
        raise
    leash = Identity.of(process.pid)
    identity = Identity.of(int(line)) if line.strip() else None
    if leash is None or identity is None:
        status = await process.wait()
        raise StackError(
            f"{program.name} ended with status {status} as soon as it started. "
            f"The last lines of {program.log}:\n{last_lines(program.log)}"
        )
    return Process(program, process, leash, identity)


def _environment(program: Program) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(program.without)
    }
    return kept | dict(program.environment)


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
