"""What passes from stage to stage: frozen, slotted dataclasses named for the stage they leave."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]
"""An embedding: shape (dimension,), float32, L2-normalised."""


class Image(NamedTuple):
    """One object version of a bucket, as a listing tells it.

    A tuple, which is made in a third of a dataclass's time: a listing makes one an image.

    Attributes:
        image_id: the object's name.
        content_key: equal where the bytes are; see google.storage.content_key.
        size: in bytes.
        metadata: what its uploader said of it, name by name.
    """

    bucket: str
    image_id: str
    generation: int
    content_key: str
    size: int | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    updated: datetime | None = None
    metadata: dict[str, str] | None = None

    @property
    def uri(self) -> str:
        """The gs:// address that the model reads."""
        return f"gs://{self.bucket}/{self.image_id}"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One answer to "which images look like this one?".

    Attributes:
        distance: L2, where nobody asked for another measure; 0 is identical.
        generation: the object's version; 0 where nobody needs it.
    """

    bucket: str
    image_id: str
    distance: float
    generation: int = 0

    @property
    def uri(self) -> str:
        """The gs:// address."""
        return f"gs://{self.bucket}/{self.image_id}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a bucket holds: objects seen, images among them, and why the rest was left out."""

    objects: int
    images: int
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """The unit of work, retry, durability and progress: contents `first` to `last` of `total`."""

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

    `kind` is one of: new, changed (other content: both need a call), moved or copied (the content
    is known, or is asked for under another name), rewritten (again with the same content),
    refused before (not asked again), gone (to be removed).
    """

    kind: str
    images: int
    calls: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit that a sync must not pass unasked: what was found, and what allows it."""

    name: str
    held: bool
    found: str
    parameter: str


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync will do, what it costs, and whether its guards let it.

    Attributes:
        indexed: images that the index has of that part of the bucket before the sync.
        changes: images by what must be done about them.
        recovered: contents whose vector a dead run had paid for, and not loaded.
        taken_over: contents whose vector another index's space of the same kind has.
        price: US dollars for the calls; `seconds_at_quota`: time for them at the asked pace.
    """

    listed: int
    indexed: int
    unchanged: int
    changes: tuple[Change, ...]
    recovered: int
    taken_over: int
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
        """Contents to ask the model for."""
        return sum(change.calls for change in self.changes)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, numbered from 1, in the order of their images' names."""
        return cut_batches(self.calls, self.batch_size)

    @property
    def is_allowed(self) -> bool:
        """Whether every guard holds."""
        return all(guard.held for guard in self.guards)


@dataclass(slots=True)
class Counts:
    """What became of the contents of a batch, or of a run, and what that took.

    Attributes:
        images: contents that were to be embedded.
        recovered: contents taken from what an earlier attempt had already paid for.
        gone: contents that no object has any more.
        leftover: contents left for the next run: no answer came in the time allowed.
        calls: requests sent; `answers` is the part of them that returned a vector (and is paid).
        retries: requests repeated after a transient failure; `deferrals`: after a 429.
    """

    images: int = 0
    embedded: int = 0
    recovered: int = 0
    refused: int = 0
    gone: int = 0
    leftover: int = 0
    calls: int = 0
    answers: int = 0
    retries: int = 0
    deferrals: int = 0

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """Return the counts that are columns of a database row."""
        return cls(**{name: row[name] for name in COUNTED})

    def begin_again(self) -> Self:
        """Forget what another attempt finds out anew; what was sent counts over all attempts."""
        self.embedded = self.recovered = self.refused = self.gone = self.leftover = 0
        return self


COUNTED = tuple(field.name for field in fields(Counts))
"""The names of the counts: columns of birdwalk.batches."""


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """How many listed images the model will not accept, and how many the next run must ask for."""

    refused: int
    leftover: int


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
    """The gate's answer, and what would be shown as nearest to one image.

    `images` are those that readers would see.
    """

    checks: tuple[Check, ...]
    query: str
    neighbours: tuple[Neighbour, ...]
    images: int
    recall: float | None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing changed for readers: images added or changed, images removed."""

    images: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class CsvReport:
    """The CSV of a run: its path (None where nothing was embedded), rows and columns."""

    path: Path | None
    rows: int
    columns: int
