"""Ask a space which of its contents are nearest to a vector."""

from dataclasses import dataclass

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import UnknownImage
from tasks.core.spaces.registry import Space
from tasks.core.types import Vector

sql = statements_of(__name__)

FILTERED_EF_SEARCH = 400
"""With 100, one row in 20 was missed where a filter let 3% of 20,000 rows pass; now one in 100."""


@dataclass(frozen=True, slots=True)
class NearContent:
    """A content that a search found, and its L2 distance."""

    content_key: str
    distance: float


@dataclass(frozen=True, slots=True)
class StoredVector:
    """The vector of an image that readers see, and the image's bucket."""

    bucket: str
    vector: Vector


async def find_vectors(
    connection: Connection, space: Space, image_id: str, bucket: str | None = None
) -> list[StoredVector]:
    """Return the vectors of the images of a name, one a bucket; of one bucket where it is given."""
    rows = await connection.fetch(sql("select_vectors", **space.tables), bucket, image_id)
    return [StoredVector(row["bucket"], row["embedding"].to_numpy()) for row in rows]


async def find_vector(connection: Connection, space: Space, bucket: str, image_id: str) -> Vector:
    """Return the vector of an image that readers would see in a space.

    Raises:
        UnknownImage: they see none. (The blog's query would return five arbitrary rows.)
    """
    found = await find_vectors(connection, space, image_id, bucket)
    if not found:
        raise await unknown_image(connection, space, image_id, bucket)
    return found[0].vector


async def unknown_image(
    connection: Connection, space: Space, image_id: str, bucket: str | None = None
) -> UnknownImage:
    """Return the error for a name that no image has, with the most similar name there is.

    Names of a bucket that were listed and are not published yet count as known too.
    """
    alike = await connection.fetchval(sql("select_alike_name", **space.tables), bucket, image_id)
    where = "" if bucket is None else f" for bucket {bucket!r}"
    hint = "" if alike is None else f" Did you mean {alike!r}?"
    return UnknownImage(
        f"Image {image_id!r} is not in index {space.index!r}{where}.{hint} Give the full object"
        " name of an image, or ask by its gs:// address."
    )


async def widen_search(
    connection: Connection, space: Space, count: int, *, filtered: bool = False
) -> None:
    """Let the searches of this transaction find `count` rows through the space's index.

    The space's ef_search is what ten neighbours take. A scan goes on until so many rows pass the
    filter. Filtered rows come almost in order, and are to be sorted: pgvector's strict_order would
    leave out those that it finds late.
    """
    least = max(space.ef_search, FILTERED_EF_SEARCH if filtered else 0)
    await connection.execute(
        "SELECT set_config('hnsw.ef_search', $1, true),"
        " set_config('hnsw.iterative_scan', $2, true)",
        str(min(1000, max(least, 2 * count))),
        "relaxed_order" if filtered else "strict_order",
    )


async def nearest(
    connection: Connection, space: Space, vector: Vector, count: int
) -> list[NearContent]:
    """Return the `count` nearest contents by L2 distance, nearest first, at its ef_search."""
    async with connection.transaction():
        await widen_search(connection, space, count)
        rows = await connection.fetch(sql("nearest", vectors=space.vectors), vector, count)
    return [NearContent(*row) for row in rows]


async def nearest_exact(
    connection: Connection, space: Space, vector: Vector, count: int
) -> list[NearContent]:
    """Return the `count` truly nearest contents, nearest first; reads every vector."""
    rows = await connection.fetch(sql("nearest_exact", vectors=space.vectors), vector, count)
    return [NearContent(*row) for row in rows]
