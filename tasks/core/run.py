"""A run: what was asked of it, and what it holds while it lasts.

Tasks get the run of their flow from `current_run`, so that clients, settings and secrets never
travel through Prefect. Opening a run takes the index for it; closing it writes what became of it.
"""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tasks.core.errors import BirdwalkError, DatabaseError, InvalidInput, RunIsOver
from tasks.core.gcs import open_client
from tasks.core.holds import Hold, IndexHold, ShardHold, kept
from tasks.core.ledger import Tally, bury_dead_runs, count_unfinished
from tasks.core.models import EmbeddingModel, find_model
from tasks.core.options import SyncOptions
from tasks.core.postgres import Database, open_database
from tasks.core.preprocessing import PictureSource, open_source
from tasks.core.quota import Limiter
from tasks.core.rehearsal import rehearse
from tasks.core.settings import Settings
from tasks.core.statements import sql
from tasks.core.types import Listing, SyncPlan
from tasks.core.vertex import VertexEmbedder, open_embedder

SECONDS_TO_CLOSE = 10.0


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """A run's number, and a key: numbers begin again in another database, files do not."""

    run_id: int
    run_key: UUID


@dataclass(slots=True)
class Progress:
    """Counts that grow while a run embeds; for showing, not for keeping."""

    total: int = 0
    by_batch: dict[int, int] = field(default_factory=dict)
    answers: int = 0
    deferrals: int = 0
    under_way: int = 0
    unexplained_in_a_row: int = 0
    given_up_in_a_row: int = 0

    def count(self, batch: int) -> None:
        """Count one image of a batch as finished."""
        self.by_batch[batch] = self.by_batch.get(batch, 0) + 1

    @property
    def done(self) -> int:
        """Images that need nothing more in this run; a twin in another's place counts with it."""
        finished = sum(self.by_batch.values())
        return min(finished, self.total or finished)

    @property
    def has_more(self) -> bool:
        """Whether there are images that nobody has begun with, as far as is known."""
        return not self.total or self.total > self.done + self.under_way

    @property
    def percent(self) -> float:
        """How much of the work is done."""
        return 100.0 * self.done / self.total if self.total else 100.0


@dataclass(frozen=True, slots=True)
class Clients:
    """Google's two clients: for the model, and for the bucket (google.cloud.storage.Client).

    `pictures` says what the model is sent of an image.
    """

    embedder: VertexEmbedder
    storage: Any
    pictures: PictureSource = field(default_factory=PictureSource)


@dataclass(slots=True)
class Run:
    """An open run: its options, its connections, and what it has found out so far."""

    identity: RunIdentity
    options: SyncOptions
    settings: Settings
    database: Database
    hold: Hold
    clients: Clients
    limiter: Limiter
    listing: Listing | None = None
    plan: SyncPlan | None = None
    index_built: bool = False
    progress: Progress = field(default_factory=Progress)
    tallies: dict[int, Tally] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    inserting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def run_id(self) -> int:
        """The run's number in birdwalk.runs."""
        return self.identity.run_id

    @property
    def model(self) -> EmbeddingModel:
        """The limits and the price of the run's model."""
        return find_model(self.options.model, self.options.dimension)

    @property
    def directory(self) -> Path:
        """Where the run's files are."""
        return run_directory(self.settings, self.identity)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the block to a step's span, from its first start to its last end."""
        start = time.monotonic()
        try:
            yield
        finally:
            first, _ = self.spans.get(step, (start, start))
            self.spans[step] = (min(first, start), time.monotonic())

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds of each step so far; the steps of batches overlap."""
        return {step: round(end - start, 3) for step, (start, end) in self.spans.items()}

    def part(self, batch: int) -> Path:
        """The CSV part of a batch; names sort in the order of batches."""
        return self.directory / "parts" / f"part-{batch:06d}.csv"

    @property
    def csv(self) -> Path:
        """The CSV of what this run embedded."""
        return self.directory / "embeddings.csv"

    @property
    def contact_sheet(self) -> Path:
        """The picture of the query and its neighbours."""
        return self.directory / "nearest-neighbours.png"


_current_run: ContextVar[Run] = ContextVar("current_run")


def current_run() -> Run:
    """Return the run that the calling flow has open.

    Raises:
        InvalidInput: no run is open: a task was called outside its flow.
    """
    try:
        return _current_run.get()
    except LookupError:
        raise InvalidInput("No run is open. Call tasks from inside a flow's open_run.") from None


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
                with _as_current(run):
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
            row = await connection.fetchrow(sql("select_run"), run_id)
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
            with _as_current(run):
                yield run


@contextmanager
def _as_current(run: Run) -> Iterator[None]:
    token = _current_run.set(run)
    try:
        yield
    finally:
        _current_run.reset(token)


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


def run_directory(settings: Settings, identity: RunIdentity) -> Path:
    """Return where a run's files are."""
    name = f"{identity.run_id:06d}-{identity.run_key.hex[:8]}"
    return settings.data_directory / "runs" / name


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
                sql("finish_run"), run.run_id, json.dumps(run.seconds), verdict, message
            )
    except (DatabaseError, TimeoutError) as error:
        if verdict == "completed":
            raise BirdwalkError(f"The run's verdict could not be recorded: {error}") from error
