"""The approximate index of a space: valid, and of the query's operator."""

import logging

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, statements_of
from tasks.core.runs.run import Run
from tasks.core.spaces.registry import space_table
from tasks.core.types import Space

sql = statements_of(__name__)
registry_sql = statements_of("tasks.core.spaces.registry")

logger = logging.getLogger(__name__)

ROWS_THAT_PAY = 10_000
"""Below this an exact search takes milliseconds, and misses nothing."""

OPERATOR_CLASS = "vector_l2_ops"
"""The class of the seed's <->."""

BYTES_A_NODE = 720
"""What pgvector keeps of a row beside its vector while it builds, at m = 16 (measured)."""


async def has_hnsw(connection: Connection, space: Space) -> bool:
    """Return whether a valid HNSW index of the query's operator class exists."""
    rows = await connection.fetch(sql("select_hnsw"), str(space_table(space)))
    return any(row["valid"] and row["opclass"] == OPERATOR_CLASS for row in rows)


async def drop_hnsw(run: Run, space: Space) -> None:
    """Drop the approximate indexes: what comes next is faster without, and build_index follows.

    Never inside a transaction: its lock would keep readers waiting until that one's end.
    """
    async with run.database.connection() as connection:
        for row in await connection.fetch(sql("select_hnsw"), str(space_table(space))):
            await _drop(connection, row["name"])


async def rebuild_hnsw(connection: Connection, run: Run, space: Space) -> None:
    """Drop a space's approximate indexes and build one anew; the connection as for drop_hnsw."""
    await run.hold.take()
    for row in await connection.fetch(sql("select_hnsw"), str(space_table(space))):
        await _drop(connection, row["name"])
    rows = await connection.fetchval(registry_sql("count_rows", table=space_table(space)))
    await create_hnsw(connection, run, space, rows)


async def drop_unusable(connection: Connection, space: Space) -> bool:
    """Drop the approximate indexes that no search can use; return whether another one is left."""
    usable = False
    for row in await connection.fetch(sql("select_hnsw"), str(space_table(space))):
        if row["valid"] and row["opclass"] == OPERATOR_CLASS:
            usable = True
        else:
            await _drop(connection, row["name"])
    return usable


async def _drop(connection: Connection, name: str) -> None:
    """Wait for whoever uses the index, and drop it."""
    await connection.execute(sql("drop_index", name=Identifier(name)), timeout=None)


async def create_hnsw(connection: Connection, run: Run, space: Space, rows: int) -> None:
    """Build the approximate index over so many rows, with as much memory as the run may use."""
    wanted_mb = memory_to_build(rows, space.dimension)
    memory_mb = min(wanted_mb, run.settings.index_build_memory_mb)
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
        name = Identifier(f"{space.table}_hnsw")
        # Writers wait while it is built, readers do not; the only writer is this run.
        await connection.execute(
            sql("create_hnsw", name=name, table=space_table(space)), timeout=None
        )
    run.index_built = True


def memory_to_build(rows: int, dimension: int) -> int:
    """Return the MB that an HNSW index over so many rows takes while it is built in memory."""
    return max(64, rows * (4 * dimension + BYTES_A_NODE) // 1_000_000 + 16)
