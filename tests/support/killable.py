"""A Postgres, a storage server and a model server of one's own, to be killed.

The stack's stay as they are: others use them meanwhile. Postgres syncs to disk as the local stack's
does (fsync is on). A kill -9 leaves what the kernel was given, so what is shown is recovery from
the write-ahead log after a crash of all processes, not a disk that loses what it had confirmed.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployments.local.addresses import PROJECT
from deployments.local.postgres import server as postgres
from deployments.local.postgres.home import find_home
from deployments.local.processes import program as processes
from deployments.local.processes.http_probe import LOOPBACK
from deployments.local.processes.state import choose_ports
from deployments.local.storage import server as storage
from deployments.local.vertex.options import ModelServerOptions
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, storage_client
from tests.support.databases import secret
from tests.support.servers import vertex

BUCKET = "killed"
LATENCY_SECONDS = 0.1


@dataclass(slots=True)
class Servers:
    """The servers by name, where they answer, and the model server's record of its answers."""

    settings: Settings
    record: Path
    bucket: LocalBucket
    running: dict[str, processes.Process] = field(default_factory=dict)

    @property
    def database_url(self) -> str:
        """The address of the database."""
        return self.settings.database_url.get_secret_value()

    @property
    def names(self) -> tuple[str, ...]:
        """Those that can be killed: a storage server that keeps objects in memory loses them."""
        in_memory = "memory" in self.running["storage"].program.command
        return tuple(name for name in self.running if name != "storage" or not in_memory)

    async def processes(self, names: Collection[str]) -> list[int]:
        """Return all processes of some: themselves, and those that they started."""
        mains = [self.running[name].identity.pid for name in names]
        return [*mains, *await descendants(mains)]

    async def restart(self, names: Collection[str]) -> None:
        """Start those again that were killed, at the same addresses."""
        for name in names:
            await self.running[name].wait()
        for name in names:
            program = self.running[name].program
            if name == "storage":
                # Its preparation empties buckets that no folder stands for.
                program = replace(program, prepare=None)
            self.running[name] = await processes.start(program)


async def descendants(processes: Iterable[int]) -> list[int]:
    """Return the processes that some have started, and those that these started."""
    listed = await asyncio.create_subprocess_exec(
        *("ps", "-A", "-o", "pid=,ppid="), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await listed.communicate()
    pairs = [tuple(map(int, line.split())) for line in output.decode().splitlines()]
    found = list(processes)
    first = len(found)
    for one in found:
        found += [child for child, parent in pairs if parent == one]
    return found[first:]


def kill_all(pids: Iterable[int]) -> None:
    """Send kill -9 to processes, those that are gone already left aside."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def open_to_others(directory: Path) -> None:
    """Let other users into a directory: Postgres is one when we are root."""
    directory.chmod(0o755)


@asynccontextmanager
async def killable_servers(directory: Path, data_directory: Path) -> AsyncIterator[Servers]:
    """Start all three; the directory must be open to the user that Postgres runs as."""
    home = find_home(directory)
    ports = choose_ports(["postgres", "storage", "vertex"], {})
    record, pictures = directory / "answers.jsonl", directory / "pictures"
    pictures.mkdir()
    storage_endpoint = f"http://{LOOPBACK}:{ports['storage']}"
    settings = Settings(
        database_url=secret(postgres.database_url(home, ports["postgres"], "postgres")),
        project=PROJECT,
        storage_endpoint=storage_endpoint,
        vertex_endpoint=f"http://{LOOPBACK}:{ports['vertex']}",
        data_directory=data_directory,
        image_time_budget_seconds=60.0,
    )
    programs = (
        postgres.program(home, port=ports["postgres"], log=directory / "postgres.log"),
        storage.program(
            port=ports["storage"],
            pictures=pictures,
            bucket=BUCKET,
            state_directory=directory / "storage",
            log=directory / "storage.log",
        ),
        vertex.program(
            port=ports["vertex"],
            storage_endpoint=storage_endpoint,
            log=directory / "vertex.log",
            options=ModelServerOptions(latency_seconds=LATENCY_SECONDS),
            record=record,
        ),
    )
    client = storage_client(storage_endpoint)
    servers = Servers(settings, record, LocalBucket(BUCKET, client))
    try:
        for program in programs:
            servers.running[program.name] = await processes.start(program)
        yield servers
    finally:
        client.close()
        for process in servers.running.values():
            await process.stop()
        postgres.remove_sockets(home)
