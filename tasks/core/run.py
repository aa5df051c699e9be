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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.core.errors import BirdwalkError, DatabaseError, InvalidInput
from tasks.core.gcs import open_client
from tasks.core.models import EmbeddingModel, find_model
from tasks.core.postgres import Database, IndexHold, quote_identifier, sql
from tasks.core.quota import Limiter
from tasks.core.settings import Settings
from tasks.core.types import Listing, SyncPlan
from tasks.core.vertex import VertexEmbedder, open_embedder

PREPROCESSING = "none"
"""Images are embedded as they are."""

SECONDS_TO_CLOSE = 10.0


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What a run is asked to do; the flow's parameters, checked.

    Raises:
        InvalidInput: a value cannot work, whatever the bucket holds.
    """

    bucket: str
    prefix: str = ""
    index: str = "image_embeddings"
    model: str = "multimodalembedding@001"
    dimension: int = 128
    limit: int | None = None
    query: str | None = None
    neighbours: int = 5
    requests_per_minute: int = 600
    batch_size: int | None = None

    def __post_init__(self) -> None:
        find_model(self.model, self.dimension)
        quote_identifier(self.index)
        if not self.bucket:
            raise InvalidInput("No bucket was named. Give the name of a Cloud Storage bucket.")
        for name in ("limit", "neighbours", "requests_per_minute", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"{name} is {value}; expected 1 or more.")


@dataclass(slots=True)
class Progress:
    """Counts that grow while a run embeds; for showing, not for keeping."""

    total: int = 0
    done: int = 0
    answers: int = 0
    deferrals: int = 0

    @property
    def percent(self) -> float:
        """How much of the work is done."""
        return 100.0 * self.done / self.total if self.total else 100.0


@dataclass(slots=True)
class Run:
    """An open run: its options and its connections to the three services."""

    run_id: int
    options: SyncOptions
    settings: Settings
    model: EmbeddingModel
    database: Database
    hold: IndexHold
    embedder: VertexEmbedder
    storage: Any
    limiter: Limiter
    directory: Path
    listing: Listing | None = None
    plan: SyncPlan | None = None
    progress: Progress = field(default_factory=Progress)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

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

    Raises:
        IndexBusy: another run holds the index.
        DatabaseUnavailable: Postgres cannot be reached.
        SystemicFailure, StorageError: there are no Google credentials.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings)
        stack.push_async_callback(database.close)
        await database.open()
        hold = IndexHold(database, options.index, f"birdwalk {requested_by}")
        await hold.take()
        stack.push_async_callback(hold.release)
        run = await _start(options, settings, requested_by, database, hold, stack)
        token = _current_run.set(run)
        try:
            yield run
        except BaseException as error:
            await _finish(run, *_verdict_of(error))
            raise
        else:
            await _finish(run, "completed", "")
            # Every row is in the table and in the CSV: the parts have served.
            shutil.rmtree(run.directory / "parts", ignore_errors=True)
        finally:
            _current_run.reset(token)


async def _start(
    options: SyncOptions,
    settings: Settings,
    requested_by: str,
    database: Database,
    hold: IndexHold,
    stack: AsyncExitStack,
) -> Run:
    model = find_model(options.model, options.dimension)
    embedder = await stack.enter_async_context(
        open_embedder(settings, options.model, options.dimension)
    )
    storage = open_client(settings)
    stack.callback(storage.close)
    async with database.connection() as connection:
        row = await connection.fetchrow(
            sql("insert_run"),
            options.index,
            options.bucket,
            options.prefix,
            options.model,
            options.dimension,
            PREPROCESSING,
            requested_by,
        )
    # Run numbers begin again in another database: the key keeps their files apart.
    directory = settings.data_directory / "runs" / f"{row['run_id']:06d}-{row['run_key'].hex[:8]}"
    return Run(
        run_id=row["run_id"],
        options=options,
        settings=settings,
        model=model,
        database=database,
        hold=hold,
        embedder=embedder,
        storage=storage,
        limiter=Limiter(options.requests_per_minute),
        directory=directory,
    )


def _verdict_of(error: BaseException) -> tuple[str, str]:
    if isinstance(error, Exception):
        return "failed", f"{type(error).__name__}: {error}"
    return "cancelled", type(error).__name__


async def _finish(run: Run, verdict: str, message: str) -> None:
    try:
        async with asyncio.timeout(SECONDS_TO_CLOSE), run.database.connection() as connection:
            await connection.execute(
                sql("finish_run"),
                run.run_id,
                json.dumps(run.seconds),
                verdict,
                message,
                str(run.model.price),
            )
    except (DatabaseError, TimeoutError) as error:
        if verdict == "completed":
            raise BirdwalkError(f"The run's verdict could not be recorded: {error}") from error
