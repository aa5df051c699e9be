"""Open a run and close it: opening takes the index for it, closing writes what became of it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from tasks.core.database.connections import Database, open_database
from tasks.core.database.dry_run import rehearse
from tasks.core.database.statements import statements_of
from tasks.core.errors import BirdwalkError, DatabaseError, RunIsOver
from tasks.core.google.rate_limit import Limiter
from tasks.core.google.storage import open_client
from tasks.core.google.vertex import open_embedder
from tasks.core.models import find_model
from tasks.core.pictures.preparing import open_source
from tasks.core.runs.accounting import bury_dead_runs, count_unfinished
from tasks.core.runs.index_lock import IndexHold, ShardHold, kept
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import Clients, Run, RunIdentity, as_current
from tasks.core.settings import Settings

runs_sql = statements_of("tasks.core.runs.runs")

SECONDS_TO_CLOSE = 10.0


@asynccontextmanager
async def open_run(
    options: SyncOptions, settings: Settings, requested_by: str
) -> AsyncIterator[Run]:
    """Yield an open run that holds its index; on leaving, record its verdict and close all.

    One that only plans works on a rehearsal of the database, of which nothing stays.

    Raises:
        IndexBusy: another run holds the index, or took it: the block is cancelled.
        DatabaseUnavailable: Postgres cannot be reached, or was away for too long.
        SystemicFailure, StorageError: there are no Google credentials.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        hold = IndexHold(database, options.index, f"birdwalk {requested_by}")
        stack.push_async_callback(hold.release)
        await hold.take()
        clients = await _open_clients(stack, settings, options)
        identity = await _register(database, options, requested_by)
        hold.keep_for(identity.run_id)
        limiter = Limiter(options.requests_per_minute)
        run = Run(identity, options, settings, database, hold, clients, limiter)
        try:
            async with kept(hold), _rehearsed(run):
                with as_current(run):
                    yield run
        except BaseException as error:
            await _finish(run, *_verdict_of(error))
            raise
        # Every row is in the table and in the CSV: the parts have served. No later run looks for
        # those of a completed one.
        shutil.rmtree(run.directory / "parts", ignore_errors=True)
        await _finish(run, "completed", "")
        if run.csv.exists():
            _point_latest(run.directory)


@asynccontextmanager
async def _rehearsed(run: Run) -> AsyncIterator[None]:
    """Undo at the block's end what it did to the database, where only a plan was asked for."""
    if not run.options.plan_only:
        yield
        return
    database = run.database
    async with rehearse(database) as rehearsal:
        run.database = rehearsal
        try:
            yield
        finally:
            run.database = database


@asynccontextmanager
async def attach_run(
    run_id: int, shard: int, shards: int, settings: Settings
) -> AsyncIterator[Run]:
    """Yield a run that another process has open, to do one shard of its batches.

    Its share of the pace is one in `shards`; its verdict is the other process's to record.

    Raises:
        RunIsOver: no such run is under way.
        IndexBusy: the run's process is not alive, or another process does this shard; where it
            died meanwhile, the block is cancelled at once.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        async with database.connection() as connection:
            row = await connection.fetchrow(runs_sql("select_run"), run_id)
        if row is None:
            raise RunIsOver(f"Run {run_id} is not under way. Shards are started by their run.")
        options = SyncOptions(**json.loads(row["options"]))
        hold = ShardHold(database, options.index, run_id, shard)
        stack.push_async_callback(hold.release)
        await hold.take()
        clients = await _open_clients(stack, settings, options)
        identity = RunIdentity(run_id, row["run_key"])
        limiter = Limiter(options.requests_per_minute / shards)
        run = Run(identity, options, settings, database, hold, clients, limiter)
        async with kept(hold):
            with as_current(run):
                yield run


async def _register(database: Database, options: SyncOptions, requested_by: str) -> RunIdentity:
    async with database.transaction() as connection:
        row = await connection.fetchrow(
            runs_sql("insert_run"),
            options.index,
            options.bucket,
            options.prefix,
            options.model,
            options.dimension,
            options.preprocessing,
            requested_by,
            json.dumps(asdict(options)),
        )
        await bury_dead_runs(connection, options.index, row["run_id"])
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


def _verdict_of(error: BaseException) -> tuple[str, str]:
    if isinstance(error, Exception):
        return "failed", f"{type(error).__name__}: {error}"
    return "cancelled", "Interrupted; what was embedded is kept."


async def _finish(run: Run, verdict: str, message: str) -> None:
    try:
        async with asyncio.timeout(SECONDS_TO_CLOSE), run.database.transaction() as connection:
            await count_unfinished(connection, run.run_id, run.options.model, run.tallies)
            await connection.execute(
                runs_sql("finish_run"), run.run_id, json.dumps(run.seconds), verdict, message
            )
    except (DatabaseError, TimeoutError) as error:
        if verdict == "completed":
            raise BirdwalkError(f"The run's verdict could not be recorded: {error}") from error
