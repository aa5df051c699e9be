"""What passes from stage to stage: frozen, slotted dataclasses named for the stage they leave."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]
"""An embedding: shape (dimension,), float32, L2-normalised."""

ChangeKind: TypeAlias = Literal["new", "changed"]


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One object version of a bucket; `name` is the image_id that users see."""

    bucket: str
    name: str
    generation: int
    content_type: str | None = None
    content_hash: str | None = None
    size: int | None = None
    updated: datetime | None = None

    @property
    def uri(self) -> str:
        """The gs:// address that the model reads."""
        return f"gs://{self.bucket}/{self.name}"


@dataclass(frozen=True, slots=True)
class Embedding:
    """The model's answer to one image."""

    image: ImageRef
    vector: Vector


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One answer to "which images look like this one?"; distance is L2, 0 is identical."""

    image_id: str
    distance: float


@dataclass(frozen=True, slots=True)
class Listing:
    """What a bucket holds: objects seen, images among them, and why the rest was left out."""

    objects: int
    images: int
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space of an index, and the table that holds its vectors."""

    space_id: int
    index: str
    model: str
    dimension: int
    preprocessing: str
    table: str
    status: Literal["loading", "active", "retired", "failed"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The unit of work, retry, durability and progress: images `first` to `last` of `total`."""

    number: int
    first: int
    last: int
    total: int


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync will do: image counts by kind, and the batches it is cut into."""

    listed: int
    new: int
    changed: int
    unchanged: int
    refused_before: int
    batch_size: int
    price: float
    seconds_at_quota: float

    @property
    def calls(self) -> int:
        """Images to ask the model for."""
        return self.new + self.changed

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, numbered from 1, in the order of their images' names."""
        size, total = self.batch_size, self.calls
        starts = range(1, total + 1, size)
        return tuple(
            Batch(number, start, min(start + size - 1, total), total)
            for number, start in enumerate(starts, start=1)
        )


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of one batch's images, and what it took.

    Attributes:
        recovered: images taken from what an earlier attempt had already paid for.
        pending: images left for the next run, because every attempt failed in the time allowed.
        calls: requests sent; `answers` is the part of them that returned a vector (and is paid).
        retries: requests repeated after a transient failure; `deferrals`: after a 429.
    """

    batch: int
    images: int
    embedded: int
    recovered: int
    refused: int
    gone: int
    pending: int
    calls: int
    answers: int
    retries: int
    deferrals: int


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Whether the space has an approximate index, and what it cost to make."""

    rows: int
    built: bool
    present: bool
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the gate: what it claims, whether it held, and rows that show it did not."""

    name: str
    passed: bool
    found: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer, and the seed's question asked of the new rows."""

    checks: tuple[Check, ...]
    query: str
    neighbours: tuple[Neighbour, ...]
    rows: int
    recall: float | None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class CsvReport:
    """The CSV of a run: its path (None where nothing was embedded), rows and columns."""

    path: Path | None
    rows: int
    columns: int
