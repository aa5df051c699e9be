"""Ask a space which images are nearest to a vector."""

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import UnknownImage
from tasks.core.runs.run import Run
from tasks.core.spaces.registry import space_table
from tasks.core.types import Neighbour, Space, Vector

sql = statements_of(__name__)

FILTERED_EF_SEARCH = 400
"""With 100, one row in 20 was missed where a filter let 3% of 20,000 rows pass; now one in 100."""


async def find_vector(connection: Connection, run: Run, space: Space, image_id: str) -> Vector:
    """Return an image's stored vector.

    Raises:
        UnknownImage: the index has no such image. (The seed's query would return five arbitrary
            rows.)
    """
    table, bucket = space_table(space), run.options.bucket
    stored = await connection.fetchval(sql("select_vector", table=table), bucket, image_id)
    if stored is None:
        alike = await connection.fetch(sql("select_alike_names", table=table), bucket, image_id)
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
) -> list[Neighbour]:
    """Return the `count` nearest images by L2 distance, nearest first, at its ef_search."""
    async with connection.transaction():
        await widen_search(connection, space, count)
        rows = await connection.fetch(sql("nearest", table=space_table(space)), vector, count)
    return [Neighbour(*row) for row in rows]


async def nearest_exact(
    connection: Connection, space: Space, vector: Vector, count: int
) -> list[Neighbour]:
    """Return the true `count` nearest images by L2 distance, nearest first; reads every row."""
    rows = await connection.fetch(sql("nearest_exact", table=space_table(space)), vector, count)
    return [Neighbour(*row) for row in rows]


async def nearest_to_image(
    connection: Connection, run: Run, space: Space, image_id: str, count: int
) -> list[Neighbour]:
    """Return the `count` images nearest to one of the run's bucket, itself left out.

    An index may hold several buckets: an image of the same name in another one is a neighbour.

    Raises:
        UnknownImage: the index has no such image.
    """
    vector = await find_vector(connection, run, space, image_id)
    found = await nearest(connection, space, vector, count + 1)
    itself = (run.options.bucket, image_id)
    return [one for one in found if (one.bucket, one.image_id) != itself][:count]
