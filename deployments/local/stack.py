"""The local stack: Postgres, Cloud Storage, Vertex AI and Prefect on loopback, as one unit."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from deployments.local import gallery_server
from deployments.local.addresses import Addresses, StackOptions
from deployments.local.errors import StackError
from deployments.local.postgres import server as postgres
from deployments.local.postgres.home import PostgresHome, find_home
from deployments.local.prefect import server as prefect_server
from deployments.local.prefect import worker
from deployments.local.processes.guard import guarded
from deployments.local.processes.http_probe import LOOPBACK
from deployments.local.processes.identity import Identity
from deployments.local.processes.leftovers import end_leftovers
from deployments.local.processes.state import State, choose_ports, lock, logs, read_state
from deployments.local.processes.supervisor import Supervisor
from deployments.local.storage import samples
from deployments.local.storage import server as storage
from deployments.local.vertex import server as vertex_server

__all__ = ["Addresses", "Stack", "StackOptions", "running"]

DATABASE = "birdwalk"
PORTS = ("postgres", "storage", "vertex", "prefect", "gallery")
# A server stops after those that use it.
STOP_ORDER = (("worker", "gallery"), ("prefect", "vertex", "storage"), ("postgres",))
WAIT_SECONDS = 300.0  # while another process starts or stops the same stack


class Stack:
    """A running stack.

    Attributes:
        addresses: where its servers answer.
        supervisor: what started its programs; None when another process did.
    """

    def __init__(self, addresses: Addresses, supervisor: Supervisor | None) -> None:
        self.addresses = addresses
        self.supervisor = supervisor

    async def failed(self) -> StackError:
        """Wait until a server ends by itself, and return the error that says so.

        Raises:
            StackError: another process started the stack and watches it.
        """
        return await self._own().failed()

    async def kill(self, name: str) -> None:
        """Kill a server, such as "postgres" or "worker", with SIGKILL.

        For tests of what a crash does. `restart` brings it back. The stack does not fail by it.

        Raises:
            StackError: there is no such server, or another process started the stack.
        """
        await self._own().kill(name)

    async def restart(self, name: str) -> None:
        """Stop a server if it runs, and start it again at the same address.

        Raises:
            StackError: as in `kill`, or it did not start again.
        """
        await self._own().restart(name)

    def _own(self) -> Supervisor:
        if self.supervisor is None:
            raise StackError("Another process started this stack; only that one can do this.")
        return self.supervisor


@asynccontextmanager
async def running(options: StackOptions) -> AsyncIterator[Stack]:
    """Start the stack unless it is up, and stop it at the end if it was started here.

    Raises:
        StackError: a server did not start, with the last lines of its log; one ended by itself
            meanwhile; or the stack is up with other options.
    """
    options = options.resolved()
    directory = options.state_directory
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with lock(directory) as ours:
            if ours:
                async with _started(options) as stack:
                    yield stack
                return
        state = read_state(directory)
        if state.up:
            options.check_against(state)
            yield Stack(Addresses.of(state), None)
            return
        if time.monotonic() > deadline:
            raise StackError(
                f"Another process starts or stops the stack in {directory} for {WAIT_SECONDS:g} s "
                "already. Look at its log, or end it."
            )
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _started(options: StackOptions) -> AsyncIterator[Stack]:
    directory = options.state_directory
    before = read_state(directory)
    await end_leftovers(directory, before)
    home = await asyncio.to_thread(find_home, directory)
    state = State(
        supervisor=Identity.of(os.getpid()),
        ports=choose_ports(PORTS, before.ports),
        password=before.password or secrets.token_urlsafe(24),
        options=options,
    )
    supervisor = Supervisor(directory, state)
    supervisor.write(state)
    addresses = _addresses(options, state, home)
    failure: str | None = None
    try:
        async with guarded(directory):
            try:
                await _Start(options, supervisor, addresses, home).everything()
                supervisor.write(replace(supervisor.state, addresses=addresses))
                yield Stack(addresses, supervisor)
                supervisor.check_whole()
            finally:
                supervisor.write(replace(supervisor.state, addresses=None))
                await supervisor.stop(*STOP_ORDER)
                postgres.remove_sockets(home)
    except StackError as error:
        failure = str(error)
        raise
    finally:
        end = replace(supervisor.state, supervisor=None, options=None, failure=failure)
        supervisor.write(end)


def _addresses(options: StackOptions, state: State, home: PostgresHome) -> Addresses:
    ports = state.ports
    tcp = f"postgresql://postgres:{state.password}@{LOOPBACK}:{ports['postgres']}/{DATABASE}"
    prefect = ports["prefect"]
    return Addresses(
        database_url=postgres.database_url(home, ports["postgres"], DATABASE),
        database_tcp_url=tcp,
        storage_endpoint=f"http://{LOOPBACK}:{ports['storage']}",
        vertex_endpoint=f"http://{LOOPBACK}:{ports['vertex']}",
        prefect_api_url=prefect_server.api_url(prefect) if options.prefect else None,
        prefect_ui_url=prefect_server.ui_url(prefect) if options.prefect else None,
        data_directory=options.state_directory / "data",
        prefect_home=options.state_directory / "prefect",
        gallery_url=gallery_server.url(ports["gallery"]) if options.gallery else None,
    )


class _Start:
    """The start of all servers; those that do not depend on each other start together."""

    def __init__(
        self,
        options: StackOptions,
        supervisor: Supervisor,
        addresses: Addresses,
        home: PostgresHome,
    ) -> None:
        self.options = options
        self.supervisor = supervisor
        self.addresses = addresses
        self.home = home
        self.ports = supervisor.state.ports
        self.logs = logs(options.state_directory)

    async def everything(self) -> None:
        if self.options.worker:
            worker.check_deployments()  # before the half minute that Prefect takes
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.postgres_then_prefect())
                group.create_task(self.storage())
                group.create_task(self.vertex())
                group.create_task(self.gallery())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if self.options.worker:
            await self.worker()

    async def postgres_then_prefect(self) -> None:
        port = self.ports["postgres"]
        program = postgres.program(self.home, port=port, log=self.logs / "postgres.log")
        await self.supervisor.start(program)
        await postgres.create_databases(
            postgres.database_url(self.home, port, "postgres"),
            (DATABASE, prefect_server.DATABASE),
            self.supervisor.state.password or "",
        )
        if self.addresses.prefect_ui_url is None:
            return
        prefect = prefect_server.program(
            port=self.ports["prefect"],
            home=self.addresses.prefect_home,
            database=prefect_server.sqlalchemy_url(self.home, port),
            log=self.logs / "prefect.log",
            schedules=self.options.schedules,
        )
        await self.supervisor.start(prefect)

    async def storage(self) -> None:
        directory = self.options.state_directory
        pictures = self.options.pictures
        if pictures is None:
            pictures = await asyncio.to_thread(samples.ensure_samples, directory / "samples")
        program = await asyncio.to_thread(
            storage.program,
            port=self.ports["storage"],
            pictures=pictures,
            bucket=self.options.bucket,
            state_directory=directory / "storage",
            log=self.logs / "storage.log",
        )
        await self.supervisor.start(program)

    async def vertex(self) -> None:
        program = vertex_server.program(
            port=self.ports["vertex"],
            storage_endpoint=self.addresses.storage_endpoint,
            log=self.logs / "vertex.log",
            options=self.options.model,
            module=self.options.model_server,
        )
        await self.supervisor.start(program)

    async def gallery(self) -> None:
        if self.addresses.gallery_url is None:
            return
        program = gallery_server.program(
            port=self.ports["gallery"],
            environment=self.addresses.environment(),
            log=self.logs / "gallery.log",
        )
        await self.supervisor.start(program)

    async def worker(self) -> None:
        program = worker.program(
            api_url=self.addresses.prefect_api_url or "",
            environment=self.addresses.environment(),
            log=self.logs / "worker.log",
        )
        await self.supervisor.start(program)
        await asyncio.gather(
            worker.register_deployments(program), worker.register_automations(program)
        )
