"""The approximate index of a space: valid, and of the query's operator."""

import logging

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, statements_of
from tasks.core.spaces.registry import Space, count_rows

sql = statements_of(__name__)
logger = logging.getLogger(__name__)

ROWS_THAT_PAY = 10_000
"""Below this an exact search takes milliseconds, and misses nothing."""

REBUILD_SHARE = 0.15
"""Adding more than this share of a table costs more through its HNSW index than building it anew
(measured break-even: 9 to 26% of the rows)."""

OPERATOR_CLASS = "vector_l2_ops"
"""The class of the blog's <->."""

BYTES_A_NODE = 720
"""What pgvector keeps of a row beside its vector while it builds, at m = 16 (measured)."""


async def has_hnsw(connection: Connection, space: Space) -> bool:
    """Return whether a valid HNSW index of the query's operator class exists."""
    rows = await connection.fetch(sql("select_hnsw"), str(space.vectors))
    return any(row["valid"] and row["opclass"] == OPERATOR_CLASS for row in rows)


async def drop_worn_hnsw(connection: Connection, space: Space, added: int) -> None:
    """Drop the approximate index where building it anew is cheaper than adding so many vectors.

    The connection is in no transaction: the drop's lock would keep readers waiting until its end.
    """
    if added > REBUILD_SHARE * await count_rows(connection, space):
        await drop_hnsw(connection, space)


async def drop_hnsw(connection: Connection, space: Space) -> None:
    """Drop the approximate indexes of a space; the connection is in no transaction."""
    for row in await connection.fetch(sql("select_hnsw"), str(space.vectors)):
        await _drop(connection, row["name"])


async def drop_unusable(connection: Connection, space: Space) -> bool:
    """Drop the approximate indexes that no search can use; return whether another one is left."""
    usable = False
    for row in await connection.fetch(sql("select_hnsw"), str(space.vectors)):
        if row["valid"] and row["opclass"] == OPERATOR_CLASS:
            usable = True
        else:
            await _drop(connection, row["name"])
    return usable


async def _drop(connection: Connection, name: str) -> None:
    """Wait for whoever uses the index, however long, and drop it.

    When the wait begins, searches may not use it any more: to give up would leave them without one.
    """
    await connection.execute("SET lock_timeout = 0")
    try:
        await connection.execute(sql("drop_hnsw", name=Identifier(name)), timeout=None)
    finally:
        await connection.execute("RESET lock_timeout")


async def create_hnsw(connection: Connection, space: Space, most_mb: int) -> None:
    """Build the approximate index, with at most so many MB of the server's memory."""
    rows = await count_rows(connection, space)
    wanted_mb = memory_to_build(rows, space.dimension)
    memory_mb = min(wanted_mb, most_mb)
    if memory_mb < wanted_mb:
        logger.warning(
            "The HNSW index over %s rows is built fast in %s MB of the database server's memory;"
            " BIRDWALK_INDEX_BUILD_MEMORY_MB lets it have %s, so it will take several times as"
            " long.",
            f"{rows:,}",
            f"{wanted_mb:,}",
            f"{memory_mb:,}",
        )
    async with connection.transaction():
        await connection.execute(
            "SELECT set_config('maintenance_work_mem', $1, true)", f"{memory_mb}MB"
        )
        name = Identifier(f"{space.vectors.name}_hnsw")
        # Writers wait while it is built, readers do not; the only writer is the space's run.
        await connection.execute(sql("create_hnsw", name=name, vectors=space.vectors), timeout=None)


async def vacuum_vectors(connection: Connection, space: Space) -> None:
    """Tell Postgres's planner what the space has now; the connection is in no transaction."""
    await connection.execute(sql("vacuum_vectors", vectors=space.vectors), timeout=None)


def memory_to_build(rows: int, dimension: int) -> int:
    """Return the MB that an HNSW index over so many rows takes while it is built in memory."""
    return max(64, rows * (4 * dimension + BYTES_A_NODE) // 1_000_000 + 16)
