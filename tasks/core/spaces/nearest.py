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


async def find_vector(connection: Connection, space: Space, bucket: str, image_id: str) -> Vector:
    """Return the vector of an image that readers would see in a space.

    Raises:
        UnknownImage: they see none. (The blog's query would return five arbitrary rows.)
    """
    stored = await connection.fetchval(sql("select_vector", **space.tables), bucket, image_id)
    if stored is None:
        alike = await connection.fetch(
            sql("select_alike_names", images=space.images), bucket, image_id
        )
        hint = "".join(f" Did you mean {row['image_id']!r}?" for row in alike[:1])
        raise UnknownImage(
            f"Image {image_id!r} is not in index {space.index!r} for bucket {bucket!r}.{hint}"
            " Give the full object name of an image in the bucket."
        )
    vector: Vector = stored.to_numpy()
    return vector


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
