"""The approximate index of a space: built when it pays, valid, and of the query's operator."""

import logging

from tasks.core.postgres import Connection
from tasks.core.run import Run
from tasks.core.spaces import find_space, space_table
from tasks.core.statements import Identifier, sql
from tasks.core.types import IndexReport, Space
from tasks.core.wording import count

logger = logging.getLogger(__name__)

ROWS_THAT_PAY = 10_000
"""Below this an exact search takes milliseconds, and misses nothing."""

OPERATOR_CLASS = "vector_l2_ops"
"""The class of the seed's <->."""

BYTES_A_NODE = 720
"""What pgvector keeps of a row beside its vector while it builds, at m = 16 (measured)."""


async def build_index(run: Run) -> IndexReport:
    """Build the HNSW index where it pays and is missing or unusable; VACUUM and ANALYZE the table.

    Raises:
        DatabaseError: Postgres could not build it; the table keeps its rows.
    """
    with run.timed("build_index"):
        await run.hold.take()
        space = await find_space(run)
        async with run.database.connection() as connection:
            rows = await connection.fetchval(sql("count_rows", table=space_table(space)))
            present = await _drop_unusable(connection, space)
            pays = rows >= ROWS_THAT_PAY
            if pays and not present:
                await _create(connection, run, space, rows)
            await connection.execute(sql("vacuum", table=space_table(space)))
        built = pays and not present
        return IndexReport(
            rows=rows,
            built=built,
            present=present or built,
            reason=_reason(rows, present=present, built=built),
        )


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
    rows = await connection.fetchval(sql("count_rows", table=space_table(space)))
    await _create(connection, run, space, rows)


async def _drop_unusable(connection: Connection, space: Space) -> bool:
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


async def _create(connection: Connection, run: Run, space: Space, rows: int) -> None:
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


def _reason(rows: int, *, present: bool, built: bool) -> str:
    if built:
        return f"built over {count(rows, 'row')}"
    if present:
        return f"kept: it grows with the table ({count(rows, 'row')})"
    return f"not needed: exact search over {count(rows, 'row')} is fast and misses nothing"
