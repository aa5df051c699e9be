"""What passes from stage to stage: frozen, slotted dataclasses named for the stage they leave."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]
"""An embedding: shape (dimension,), float32, L2-normalised."""


class ImageRef(NamedTuple):
    """One object version of a bucket; `name` is the image_id that users see.

    A tuple, which is made in a third of a dataclass's time: a listing makes one an image.
    """

    bucket: str
    name: str
    generation: int
    content_type: str | None = None
    content_hash: str | None = None
    updated: datetime | None = None

    @property
    def uri(self) -> str:
        """The gs:// address that the model reads."""
        return f"gs://{self.bucket}/{self.name}"

    @property
    def can_share(self) -> bool:
        """Whether its vector may be given to others of the same content: only md5 tells."""
        return self.content_hash is not None and self.content_hash.startswith("md5:")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One answer to "which images look like this one?"; distance is L2, 0 is identical."""

    bucket: str
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
    """An embedding space of an index, and the table that holds its vectors.

    `ef_search` is what searches through its approximate index need, as the gate measured it.
    """

    space_id: int
    index: str
    model: str
    dimension: int
    preprocessing: str
    table: str
    status: Literal["loading", "active", "retired", "failed"]
    ef_search: int = 100

    @property
    def label(self) -> str:
        """Model, dimension, and what is done to the images first where that is something."""
        done = "" if self.preprocessing == "none" else f", {self.preprocessing}"
        return f"{self.model}, {self.dimension} dimensions{done}"

    @property
    def parameters(self) -> str:
        """The parameters of embed-images that fill this space."""
        crop = ", crop subject" if self.preprocessing.startswith("crop-subject") else ""
        return f"model {self.model}, dimension {self.dimension}{crop}"


@dataclass(frozen=True, slots=True)
class Batch:
    """The unit of work, retry, durability and progress: images `first` to `last` of `total`."""

    number: int
    first: int
    last: int
    total: int


def cut_batches(images: int, size: int) -> tuple[Batch, ...]:
    """Return the batches of `size` that hold so many images, numbered from 1."""
    return tuple(
        Batch(number, start, min(start + size - 1, images), images)
        for number, start in enumerate(range(1, images + 1, size), start=1)
    )


@dataclass(frozen=True, slots=True)
class Change:
    """Images that need the same done about them, and a few of their names.

    `kind` is one of: new, changed (other content: both need a call), duplicate (moved or copied:
    the vector is known, or will be), touched (written again with the same content), refused
    before (not asked again), gone (to be removed).
    """

    kind: str
    images: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit that a sync must not pass unasked: what was found, and what allows it."""

    name: str
    held: bool
    found: str
    parameter: str


@dataclass(frozen=True, slots=True)
class ReuseReport:
    """Vectors given without a call: to rewritten images, and to copies of known ones."""

    touched: int
    copied: int


@dataclass(frozen=True, slots=True)
class RefusalReport:
    """How many listed images the model will not accept, and how many the next run must ask for."""

    images: int
    pending: int


@dataclass(frozen=True, slots=True)
class RemovalReport:
    """Rows removed: of images that left the bucket, and of versions that were refused."""

    gone: int
    stale: int


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync will do, what it costs, and whether its guards let it.

    Attributes:
        stored: rows of that part of the bucket before the sync.
        changes: images by what must be done about them.
        recovered: vectors that a dead run had paid for, loaded while planning; by a run that only
            plans, counted.
        price: US dollars for the calls; `seconds_at_quota`: time for them at the asked pace.
    """

    listed: int
    stored: int
    unchanged: int
    changes: tuple[Change, ...]
    recovered: int
    batch_size: int
    price: float
    seconds_at_quota: float
    guards: tuple[Guard, ...]

    def images(self, kind: str) -> int:
        """Images of one kind of change."""
        return sum(change.images for change in self.changes if change.kind == kind)

    @property
    def gone(self) -> int:
        """Images to be removed."""
        return self.images("gone")

    @property
    def calls(self) -> int:
        """Images to ask the model for."""
        return self.images("new") + self.images("changed")

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, numbered from 1, in the order of their images' names."""
        return cut_batches(self.calls, self.batch_size)


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
    """Whether the space has an approximate index, and whether this run built it."""

    rows: int
    built: bool
    present: bool
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
