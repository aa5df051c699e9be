"""Start, watch, restart and stop the programs of a stack, and write down which they are."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deployments.local.errors import StackError
from deployments.local.processes.program import Process, Program, launch
from deployments.local.processes.state import ServerRecord, State, write_state


class Supervisor:
    """The programs of one state directory, started by this process.

    Attributes:
        state: what the state file says; every change is written at once.
    """

    def __init__(self, directory: Path, state: State) -> None:
        self.directory = directory
        self.state = state
        self._processes: dict[str, Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[StackError] = asyncio.get_running_loop().create_future()

    @property
    def processes(self) -> Mapping[str, Process]:
        """The processes by program name, in the order of their start."""
        return self._processes

    def check_whole(self) -> None:
        """Check that no program ended by itself.

        Raises:
            StackError: one did; with the last lines of its log.
        """
        if self._failure.done():
            raise self._failure.result()

    async def failed(self) -> StackError:
        """Wait until a program ends without having been asked to, and return the error."""
        return await asyncio.shield(self._failure)

    async def start(self, program: Program) -> None:
        """Start a program, wait until it answers, and watch it from then on.

        Raises:
            StackError: it did not start; with the last lines of its log.
        """
        process = self._processes[program.name] = await launch(program)
        self._write()
        try:
            await process.until_ready()
        except BaseException:
            await process.stop()
            raise
        self._watchers[program.name] = asyncio.create_task(self._watch(process))

    async def kill(self, name: str) -> None:
        """Kill a program with SIGKILL, as a crash would: tests do.

        Raises:
            StackError: no program of this name runs.
        """
        await self._unwatched(name).kill()

    async def restart(self, name: str) -> None:
        """Stop a program if it runs, and start it again at the same address.

        Raises:
            StackError: there is no such program, or it did not start again.
        """
        process = self._unwatched(name)
        await process.stop()
        await self.start(process.program)

    async def stop(self, *waves: tuple[str, ...]) -> None:
        """Stop every program: those of a wave together, one wave after the other, then the rest."""
        named = {name for wave in waves for name in wave}
        rest = tuple(name for name in self._processes if name not in named)
        for wave in (*waves, rest):
            names = [name for name in wave if name in self._processes]
            await asyncio.gather(*(self._unwatched(name).stop() for name in names))
            for name in names:
                del self._processes[name]
        self._write()

    def write(self, state: State) -> None:
        """Replace the state, all but its list of servers, which this object keeps."""
        self.state = state
        self._write()

    def _write(self) -> None:
        servers = tuple(ServerRecord.of(process) for process in self._processes.values())
        self.state = replace(self.state, servers=servers)
        write_state(self.directory, self.state)

    async def _watch(self, process: Process) -> None:
        what = f"ended by itself with status {await process.wait()}"
        if not self._failure.done():
            self._failure.set_result(process.program.failed(what))

    def _unwatched(self, name: str) -> Process:
        """Return a process whose end is no failure from now on."""
        if name not in self._processes:
            names = ", ".join(self._processes) or "none"
            raise StackError(f"The stack runs no server {name!r}; it runs: {names}.")
        if watcher := self._watchers.pop(name, None):
            watcher.cancel()
        return self._processes[name]
