"""A run: what was asked of it, and what it holds while it lasts.

Tasks get the run of their flow from `current_run`, so that clients, settings and secrets never
travel through Prefect.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tasks.core.database.connections import Connection, Database
from tasks.core.errors import InvalidInput
from tasks.core.google.rate_limit import Limiter
from tasks.core.google.vertex import VertexEmbedder
from tasks.core.models import EmbeddingModel, find_model
from tasks.core.pictures.preparing import PictureSource
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.progress import Progress
from tasks.core.runs.space_lock import ProcessLock
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tasks.core.types import Counts, Listing, SyncPlan


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """A run's number, and a key: numbers begin again in another database, files do not."""

    run_id: int
    run_key: UUID


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
    """An open run: its options, its connections, and what its steps have found out so far.

    Attributes:
        lock: what this process holds of the run.
        made_space: what create_table made; steps after it read `space`.
        listing: set by list_images; `plan` by plan_sync.
        vectors_written: whether vectors were written or removed by this process.
        index_built: whether build_index built the approximate index.
        counts: of the batches that this process works on, or has.
    """

    identity: RunIdentity
    options: SyncOptions
    settings: Settings
    database: Database
    lock: ProcessLock
    clients: Clients
    limiter: Limiter
    made_space: Space | None = None
    listing: Listing | None = None
    plan: SyncPlan | None = None
    vectors_written: bool = False
    index_built: bool = False
    progress: Progress = field(default_factory=Progress)
    counts: dict[int, Counts] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    inserting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def run_id(self) -> int:
        """The run's number in birdwalk.runs."""
        return self.identity.run_id

    @property
    def space(self) -> Space:
        """The space that the run fills.

        Raises:
            InvalidInput: create_table has not run yet.
        """
        if self.made_space is None:
            raise InvalidInput("The run has no space yet. Call create_table first.")
        return self.made_space

    def writing(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection inside a transaction; that of a run that only plans is rolled back."""
        database = self.database
        return database.undone() if self.options.plan_only else database.transaction()

    @property
    def listed(self) -> int:
        """Images of the listing; 0 before there is one."""
        return self.listing.images if self.listing else 0

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

    @property
    def parts(self) -> Path:
        """The folder of the batches' CSV parts."""
        return self.directory / "parts"

    def part(self, batch: int) -> Path:
        """The CSV part of a batch; names sort in the order of batches."""
        return self.parts / f"part-{batch:06d}.csv"

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


@contextmanager
def as_current(run: Run) -> Iterator[None]:
    """Let `current_run` return this run in the block, and in the tasks that it starts."""
    token = _current_run.set(run)
    try:
        yield
    finally:
        _current_run.reset(token)


def run_directory(settings: Settings, identity: RunIdentity) -> Path:
    """Return where a run's files are."""
    name = f"{identity.run_id:06d}-{identity.run_key.hex[:8]}"
    return settings.data_directory / "runs" / name
