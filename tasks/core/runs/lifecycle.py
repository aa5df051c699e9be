"""Open a run and close it: opening takes the space for it, closing writes what became of it."""

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from tasks.core.database.connections import Database, open_database
from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseError, RunIsOver
from tasks.core.google.rate_limit import Limiter
from tasks.core.google.storage import open_client
from tasks.core.google.vertex import open_embedder
from tasks.core.models import find_model
from tasks.core.pictures.preparing import open_source
from tasks.core.runs.accounting import SECONDS_BETWEEN_COUNTS, count_sent, counted, sum_up
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.outages import outlasting
from tasks.core.runs.run import Clients, Run, RunIdentity, as_current
from tasks.core.runs.space_lock import (
    SECONDS_BETWEEN_BEATS,
    PlanLock,
    ProcessLock,
    SpaceLock,
    WorkerLock,
    kept,
)
from tasks.core.settings import Settings
from tasks.core.spaces.registry import find_space

sql = statements_of("tasks.core.runs.runs")
logger = logging.getLogger(__name__)

SECONDS_TO_CLOSE = 10.0
"""How long a run that failed, or was cancelled, tries to say so; the next one says it otherwise."""


@asynccontextmanager
async def open_run(
    options: SyncOptions, settings: Settings, requested_by: str
) -> AsyncIterator[Run]:
    """Yield an open run that holds its space; on leaving, record its verdict and close all.

    One that only plans holds nothing: it writes nothing but its own listing, which goes with it.

    Raises:
        SpaceBusy: another run holds the space, or took it: the block is cancelled.
        DatabaseUnavailable: Postgres was away for too long.
        SystemicFailure, StorageError: there are no Google credentials.
    """
    name = f"birdwalk {requested_by}"
    async with AsyncExitStack() as stack:
        database = Database(settings, name=name)
        stack.push_async_callback(database.close)
        await outlasting(database.open)()
        lock = (PlanLock if options.plan_only else SpaceLock)(database, options.space, name)
        stack.push_async_callback(lock.release)
        await outlasting(lock.take)()
        clients = await _open_clients(stack, settings, options)
        identity = await outlasting(_register)(database, options, requested_by)
        await outlasting(lock.work_for)(identity.run_id)
        run = _make_run(identity, options, settings, database, lock, clients)
        try:
            async with kept(lock), counted(run):
                with as_current(run):
                    yield run
        except BaseException as error:
            await _record_failure(run, error)
            raise
        # Every vector is in the table and in the CSV: the parts have served.
        shutil.rmtree(run.parts, ignore_errors=True)
        await _record_completion(run)
        if run.csv.exists():
            _point_latest(run.directory)


@asynccontextmanager
async def attach_run(run_id: int, settings: Settings) -> AsyncIterator[Run]:
    """Yield a run that another process has open, to work for it; its verdict is the other's.

    Raises:
        RunIsOver: no such run is under way.
        SpaceBusy: the run's own process is not alive; where it dies meanwhile, the block is
            cancelled.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_database(settings, name=f"birdwalk worker of run {run_id}")
        )
        async with database.connection() as connection:
            row = await connection.fetchrow(sql("select_run"), run_id)
            if row is None:
                raise RunIsOver(f"Run {run_id} is not under way. Workers are started by their run.")
            options = SyncOptions(**json.loads(row["options"]))
            space = await find_space(connection, options.space)
        lock = WorkerLock(database, options.space, run_id)
        stack.push_async_callback(lock.release)
        await lock.take()
        clients = await _open_clients(stack, settings, options)
        identity = RunIdentity(run_id, row["run_key"])
        run = _make_run(identity, options, settings, database, lock, clients)
        run.made_space = space
        run.limiter.share(lock.workers)
        try:
            async with kept(lock), counted(run):
                # The others must have seen that there is one more before it makes a call.
                await asyncio.sleep(SECONDS_BETWEEN_BEATS + SECONDS_BETWEEN_COUNTS)
                with as_current(run):
                    yield run
        finally:
            # The run may have ended before its worker: nobody else would sum it up.
            await _count_the_last(run)


def _make_run(
    identity: RunIdentity,
    options: SyncOptions,
    settings: Settings,
    database: Database,
    lock: ProcessLock,
    clients: Clients,
) -> Run:
    limiter = Limiter(options.requests_per_minute)
    return Run(identity, options, settings, database, lock, clients, limiter)


async def _register(database: Database, options: SyncOptions, requested_by: str) -> RunIdentity:
    async with database.transaction() as connection:
        row = await connection.fetchrow(
            sql("insert_run"),
            options.index,
            options.bucket,
            options.prefix,
            options.model,
            options.dimension,
            options.preprocessing,
            options.plan_only,
            requested_by,
            json.dumps(asdict(options)),
        )
        if not options.plan_only:
            dead = await connection.fetch(
                sql("bury_dead_runs"),
                options.index,
                options.model,
                options.dimension,
                options.preprocessing,
                row["run_id"],
            )
            for found in dead:
                await sum_up(connection, found["run_id"], found["model"])
    return RunIdentity(row["run_id"], row["run_key"])


async def _open_clients(stack: AsyncExitStack, settings: Settings, options: SyncOptions) -> Clients:
    embedder = await stack.enter_async_context(
        open_embedder(settings, options.model, options.dimension)
    )
    storage = open_client(settings)
    stack.callback(storage.close)
    model = find_model(options.model, options.dimension)
    pictures = open_source(storage, options.preprocessing, model)
    stack.callback(pictures.close)
    return Clients(embedder, storage, pictures)


def _point_latest(directory: Path) -> None:
    """Make runs/latest lead to the files of the run that embedded last."""
    link = directory.with_name(f".latest-{directory.name}")
    link.unlink(missing_ok=True)
    link.symlink_to(directory.name, target_is_directory=True)
    link.replace(directory.with_name("latest"))


async def _record_completion(run: Run) -> None:
    try:
        await outlasting(_finish)(run, "completed", "")
    except DatabaseError as error:
        # What it published is seen: the next run of the space closes it as completed.
        logger.warning("That run %d has completed will be recorded later: %s", run.run_id, error)


async def _record_failure(run: Run, error: BaseException) -> None:
    if isinstance(error, Exception):
        verdict, message = "failed", f"{type(error).__name__}: {error}"
    else:
        verdict, message = "cancelled", "Interrupted; what was embedded is kept."
    try:
        async with asyncio.timeout(SECONDS_TO_CLOSE):
            await _finish(run, verdict, message)
    except (DatabaseError, TimeoutError) as lost:
        logger.debug("That run %d has %s will be recorded later: %s", run.run_id, verdict, lost)


async def _finish(run: Run, verdict: str, message: str) -> None:
    async with run.database.transaction() as connection:
        await count_sent(connection, run.run_id, run.counts)
        await sum_up(connection, run.run_id, run.options.model)
        if run.options.plan_only:
            await connection.execute(sql("delete_listing"), run.run_id)
        await connection.execute(
            sql("finish_run"), run.run_id, json.dumps(run.seconds), verdict, message
        )


async def _count_the_last(run: Run) -> None:
    try:
        async with asyncio.timeout(SECONDS_TO_CLOSE), run.database.transaction() as connection:
            await count_sent(connection, run.run_id, run.counts)
            await sum_up(connection, run.run_id, run.options.model)
    except (DatabaseError, TimeoutError) as error:
        logger.debug("The last calls for run %d were not counted: %s", run.run_id, error)
