"""Start the project's command lines as a user does, and read what they print."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program that has ended left in the terminal.

    Attributes:
        status: its exit status.
        out: what it printed to standard output.
        err: what it printed to standard error: Prefect's log, and errors.
    """

    status: int
    out: str
    err: str

    @property
    def neighbours(self) -> list[tuple[str, float]]:
        """The rows of the printed table of nearest images, each with its distance."""
        rows = re.findall(r"^│ +\d+ │ (.+?) +│ +(\d+\.\d+) │$", self.out, re.MULTILINE)
        return [(name, float(distance)) for name, distance in rows]

    def fact(self, name: str) -> str:
        """Return what stands after a name below the table, as in `CSV  /somewhere/x.csv`."""
        found = re.search(rf"^ *{name}  (.+)$", self.out, re.MULTILINE)
        assert found is not None, f"no {name} in:\n{self.out}"
        return found[1].strip()

    @property
    def flow_run_id(self) -> UUID:
        """Which run of Prefect's this was."""
        return UUID(self.fact("run").rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Program:
    """A command line of ours, and the variables it is started with.

    Attributes:
        name: a module, or `birdwalk` and one of its commands.
        environment: set beside those of the tests.
    """

    name: str
    environment: Mapping[str, str]

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its first arguments."""
        first, *rest = self.name.split()
        if first == "birdwalk":
            return (str(Path(sys.executable).with_name("birdwalk")), *rest)
        return (sys.executable, "-m", self.name)

    async def start(self, *arguments: str) -> Process:
        """Start it in the repository's root; its standard output is left to a pipe."""
        return await asyncio.create_subprocess_exec(
            *self.command,
            *arguments,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=PIPE,
            stderr=PIPE,
        )

    async def run(self, *arguments: str) -> Finished:
        """Run it to its end."""
        return await end_of(await self.start(*arguments))


async def end_of(process: Process) -> Finished:
    """Wait for a program's end; one that takes too long is ended, and fails the test."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


async def until_logged(process: Process, text: str) -> None:
    """Read a program's log until a line contains the text."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while text not in (line := (await process.stderr.readline()).decode()):
            assert line, f"the program ended without logging {text!r}"
