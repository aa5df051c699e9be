"""Look through an index without asking anything: its images by the page, its folders, its state.

A page is found by the image before it, never by counting from the first: the thousandth page costs
what the first does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import InvalidInput
from tasks.core.searching.question import parse_uri
from tasks.core.spaces.registry import Space, read_space, space_table

sql = statements_of(__name__)
registry_sql = statements_of("tasks.core.spaces.registry")

MOST_IMAGES = 200
"""Images a page."""

MOST_HOPS = 300
"""Steps of the search for folders in each bucket: each is one look into the index."""

LAST_CHARACTER = "\U0010ffff"
BEHIND_ALL_NAMES = LAST_CHARACTER * 257
"""Names have at most 1,024 bytes, and this character takes four."""

SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """An image that an index has the vector of, and of which version of the object it is."""

    bucket: str
    image_id: str
    generation: int

    @property
    def uri(self) -> str:
        """The gs:// address."""
        return f"gs://{self.bucket}/{self.image_id}"


@dataclass(frozen=True, slots=True)
class Page:
    """Some images of an index, in the order of bucket and name, and whether there are others."""

    images: tuple[IndexedImage, ...]
    more_before: bool
    more_after: bool


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders below a prefix, each as the prefix of its images, and whether they are all."""

    prefixes: tuple[str, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class PublishedIndex:
    """An index that readers see, and how many images its last verification found in it."""

    name: str
    images: int


@dataclass(frozen=True, slots=True)
class SpaceSummary:
    """A space of an index, and what its last verification found."""

    space: Space
    images: int
    recall: float | None
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class LastSync:
    """When a part of a bucket was last synced into an index."""

    bucket: str
    prefix: str
    synced_at: datetime


async def list_published(connection: Connection) -> tuple[PublishedIndex, ...]:
    """Return the indexes that readers see, by name."""
    rows = await connection.fetch(registry_sql("select_published"))
    return tuple(PublishedIndex(row["index_name"], row["rows"]) for row in rows)


async def browse(
    connection: Connection,
    space: Space,
    prefix: str,
    count: int,
    *,
    after: str | None = None,
    before: str | None = None,
) -> Page:
    """Return up to `count` images whose name begins with a prefix, in the order of their names.

    Args:
        connection: of the database.
        space: whose images; see `tasks.core.spaces.registry.find_active_space`.
        prefix: beginning of the names, such as a folder.
        count: 1 to 200.
        after: gs:// address that the images are to follow; it need not be in the index.
        before: gs:// address that they are to come before. At most one of the two.

    Raises:
        InvalidInput: a value cannot work.
    """
    if not 1 <= count <= MOST_IMAGES:
        raise InvalidInput(f"count is {count}; expected 1 to {MOST_IMAGES}.")
    if after is not None and before is not None:
        raise InvalidInput("Give after or before, not both.")
    table, names = space_table(space), (prefix, end_of_prefix(prefix))
    if before is None:
        place = ("", "") if after is None else _place(after)
        statement = sql("select_page_after", table=table)
    else:
        place = _place(before)
        statement = sql("select_page_before", table=table)
    # One more than asked for tells whether there are others.
    rows = await connection.fetch(statement, *place, *names, count + 1)
    others = len(rows) > count
    images = [IndexedImage(**row) for row in rows[:count]]
    if before is None:
        return Page(tuple(images), more_before=after is not None, more_after=others)
    return Page(tuple(reversed(images)), more_before=others, more_after=True)


async def list_folders(connection: Connection, space: Space, prefix: str) -> Folders:
    """Return the folders right below a prefix.

    Of very many, or behind very many names outside of folders, they are only the first.

    Raises:
        InvalidInput: the prefix cannot begin a name.
    """
    statement = sql("select_folders", table=space_table(space))
    [row] = await connection.fetch(statement, prefix, end_of_prefix(prefix), MOST_HOPS)
    return Folders(tuple(row["folders"] or ()), exact=not row["cut_short"])


async def find_generation(
    connection: Connection, space: Space, bucket: str, image_id: str
) -> int | None:
    """Return the version of an object that the space has; None where it has none of it."""
    statement = sql("select_generation", table=space_table(space))
    generation: int | None = await connection.fetchval(statement, bucket, image_id)
    return generation


async def find_images(
    connection: Connection, space: Space, places: Sequence[tuple[str, str]]
) -> tuple[IndexedImage, ...]:
    """Return the images of some buckets and names, in no order, without those that are gone."""
    statement = sql("select_generations", table=space_table(space))
    buckets, names = [place[0] for place in places], [place[1] for place in places]
    rows = await connection.fetch(statement, buckets, names)
    return tuple(IndexedImage(**row) for row in rows)


async def summarise_spaces(connection: Connection, index: str) -> tuple[SpaceSummary, ...]:
    """Return the spaces of an index, the newest first; nothing of them is counted anew."""
    rows = await connection.fetch(registry_sql("select_spaces"), index)
    return tuple(
        SpaceSummary(read_space(row), row["rows"], row["recall"], row["published_at"])
        for row in rows
    )


async def list_syncs(connection: Connection, index: str) -> tuple[LastSync, ...]:
    """Return when each part of a bucket was last synced into an index, the latest first."""
    return tuple(LastSync(**row) for row in await connection.fetch(sql("select_syncs"), index))


def end_of_prefix(prefix: str) -> str:
    """Return the first text behind all names that begin with a prefix, in the order of UTF-8.

    Raises:
        InvalidInput: no name begins so.
    """
    if "\0" in prefix or any(ord(character) in SURROGATES for character in prefix):
        raise InvalidInput("A prefix holds a character that no object's name has.")
    stem = prefix.rstrip(LAST_CHARACTER)
    if not stem:
        return BEHIND_ALL_NAMES
    following = ord(stem[-1]) + 1
    if following in SURROGATES:
        following = SURROGATES.stop
    return stem[:-1] + chr(following)


def _place(uri: str) -> tuple[str, str]:
    bucket, name = parse_uri(uri)
    if "\0" in uri:
        raise InvalidInput("An address holds a NUL, which no object's name in an index does.")
    return bucket, name
