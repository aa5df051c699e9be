"""Look through an index without a question: its images page by page, its folders, its last syncs.

A page is found by the image before it, not by counting from the first: the thousandth page costs
as much as the first.
"""

from dataclasses import dataclass
from datetime import datetime

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import InvalidInput
from tasks.core.searching.question import parse_uri
from tasks.core.spaces.registry import Space
from tasks.core.types import Image

sql = statements_of(__name__)

MOST_IMAGES = 200
"""Images a page."""

MOST_HOPS = 300
"""Steps of the search for folders in each bucket; each is one look into the index."""

LAST_CHARACTER = "\U0010ffff"
BEHIND_ALL_NAMES = LAST_CHARACTER * 257
"""Names have at most 1,024 bytes, and this character takes four."""

SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class Page:
    """Images of an index, in the order of bucket and name; whether others come before or after."""

    images: tuple[Image, ...]
    more_before: bool
    more_after: bool


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders below a prefix, each as the prefix of its images, and whether they are all."""

    prefixes: tuple[str, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class LastSync:
    """When a part of a bucket was last published in an index."""

    bucket: str
    prefix: str
    synced_at: datetime


async def list_published(connection: Connection) -> tuple[str, ...]:
    """Return the names of the indexes that readers see."""
    return tuple(row["index_name"] for row in await connection.fetch(sql("select_published")))


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
        space: whose images; see `tasks.core.spaces.registry.require_shown_space`.
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
    names = (prefix, end_of_prefix(prefix))
    if before is None:
        place = ("", "") if after is None else _place(after)
        statement = sql("select_page_after", **space.tables)
    else:
        place = _place(before)
        statement = sql("select_page_before", **space.tables)
    # One more than asked for tells whether there are others.
    rows = await connection.fetch(statement, *place, *names, count + 1)
    others = len(rows) > count
    images = [Image(**row) for row in rows[:count]]
    if before is None:
        return Page(tuple(images), more_before=after is not None, more_after=others)
    return Page(tuple(reversed(images)), more_before=others, more_after=True)


async def list_folders(connection: Connection, space: Space, prefix: str) -> Folders:
    """Return the folders right below a prefix.

    They are only the first where there are very many, or very many names outside of folders.

    Raises:
        InvalidInput: the prefix cannot begin a name.
    """
    statement = sql("select_folders", **space.tables)
    [row] = await connection.fetch(statement, prefix, end_of_prefix(prefix), MOST_HOPS)
    return Folders(tuple(row["folders"] or ()), exact=not row["cut_short"])


async def find_image(
    connection: Connection, space: Space, bucket: str, image_id: str
) -> Image | None:
    """Return an image as readers see it; None where they see none of that name."""
    row = await connection.fetchrow(sql("select_image", **space.tables), bucket, image_id)
    return None if row is None else Image(**row)


async def list_syncs(connection: Connection, index: str) -> tuple[LastSync, ...]:
    """Return when each part of a bucket was last published in an index, the latest first."""
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
