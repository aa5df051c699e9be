"""A question to an index: which images look like this one, or like what this sentence says?"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from tasks.core.errors import InvalidInput
from tasks.core.text import printable

Metric: TypeAlias = Literal["l2", "cosine", "inner_product"]

MOST_NEIGHBOURS = 100
LONGEST_TEXT = 1024
"""Characters; Google answers INVALID_ARGUMENT above."""

MOST_WORDS = 32
"""What multimodalembedding@001 reads of a text: 32 tokens, which Google's page equates with about
32 words. It leaves out the rest without saying so."""

WORD = re.compile(r"\w+|[^\w\s]")
OBJECT_URI = re.compile(r"gs://([^/]+)/(.+)", re.DOTALL)

FROM_L2: dict[Metric, Callable[[float], float]] = {
    "l2": lambda distance: distance,
    "cosine": lambda distance: distance * distance / 2,
    "inner_product": lambda distance: 1 - distance * distance / 2,
}
"""Vectors are of norm 1, so |a - b|^2 = 2 - 2ab: the three order alike, and one tells the others.

Cosine distance is 1 - ab, from 0 (identical) to 2; the inner product is ab, from 1 (identical) to
-1, and is the one of the three that is larger for a nearer image.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to look for, among what, and how many to return.

    Attributes:
        image_id: an image of the index, by name.
        uri: an object as gs://bucket/name; it need not be in the index.
        file: a picture on this machine.
        data: a picture's encoded bytes, as an upload brings them.
        prepared: the preprocessing that the data went through already; empty for an original.
        text: an English sentence.
        count: how many images to return, 1 to 100.
        metric: how distances are told; the order is the same for all.
        prefix: only images whose name begins with this.
        uploaded_after: only images whose object was written, or had its metadata changed, at this
            time or later; UTC where it has no time zone.

    Raises:
        InvalidInput: none or several of the first five are given, or a value cannot work.
    """

    image_id: str | None = None
    uri: str | None = None
    file: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    prepared: str = ""
    text: str | None = None
    count: int = 10
    metric: Metric = "l2"
    prefix: str = ""
    uploaded_after: datetime | None = None

    def __post_init__(self) -> None:
        ways = ("image_id", "uri", "file", "data", "text")
        given = [way for way in ways if getattr(self, way) is not None]
        if len(given) != 1:
            raise InvalidInput(
                f"Asked with {' and '.join(given) or 'nothing'}. Give exactly one of image_id, uri,"
                " file or text."
            )
        if not 1 <= self.count <= MOST_NEIGHBOURS:
            raise InvalidInput(f"count is {self.count}; expected 1 to {MOST_NEIGHBOURS}.")
        if self.metric not in get_args(Metric):
            allowed = ", ".join(get_args(Metric))
            raise InvalidInput(f"metric is {self.metric!r}; expected one of {allowed}.")
        if "\0" in f"{self.image_id}{self.uri}{self.prefix}":
            raise InvalidInput("A name holds a NUL, which no object's name in an index does.")
        if self.uri is not None:
            parse_uri(self.uri)
        if self.text is not None:
            _require_readable(self.text)

    @property
    def since(self) -> datetime | None:
        """uploaded_after, with a time zone."""
        asked = self.uploaded_after
        return asked.replace(tzinfo=UTC) if asked is not None and asked.tzinfo is None else asked

    @property
    def label(self) -> str:
        """The question in a few words, as for a heading: on one line, all of it printable."""
        if self.text is not None:
            return printable(f"“{self.text}”", " ")
        if self.file is not None:
            return printable(self.file.name)
        return printable(self.image_id or self.uri or "an uploaded picture")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the asker may not expect the model to do with the question."""
        words = len(WORD.findall(self.text or ""))
        if words <= MOST_WORDS:
            return ()
        warning = (
            f"The text has {words} words and punctuation marks; the model reads about the first"
            f" {MOST_WORDS} and leaves out the rest without saying so. Say it shorter."
        )
        return (warning,)


def parse_uri(uri: str) -> tuple[str, str]:
    """Return the bucket and the object's name of a gs:// address.

    Raises:
        InvalidInput: it is not one.
    """
    match = OBJECT_URI.fullmatch(uri)
    if match is None:
        raise InvalidInput(f"{uri!r} is not an object's address; expected gs://bucket/name.")
    return match[1], match[2]


def _require_readable(text: str) -> None:
    if not text.strip():
        raise InvalidInput("The text is empty. Say in English what the pictures show.")
    if len(text) > LONGEST_TEXT:
        raise InvalidInput(
            f"The text has {len(text):,} characters; the model takes at most {LONGEST_TEXT:,}, and"
            f" reads about the first {MOST_WORDS} words. Say it shorter."
        )
