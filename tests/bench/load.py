"""How fast vectors become rows, against the server reading the same rows from its own disk."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from pgvector.asyncpg import register_vector

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Literal
from tasks.core.planning.plan_sync import LARGEST_BATCH
from tasks.core.spaces.registry import Space, SpaceKind, create_tables
from tasks.core.spaces.rows import COLUMNS, Row, load_vectors
from tests.bench.figures import Bar, Figure
from tests.bench.session import MeasurementFailed, Session

TITLE = "Load: new rows into a table with its key"
SHAPES = ((100_000, 128), (20_000, 1408))
REPETITIONS = 3
STATEMENTS = 1_000
"""Rows of the one-INSERT-a-row yardstick: enough for a rate, and over in seconds."""

NAMES = ", ".join(COLUMNS)
INSERT_ONE = "INSERT INTO {table} (content_key, embedding) VALUES ($1, "


async def measure(session: Session) -> list[Figure]:
    """Measure each shape."""
    figures = []
    async with session.connection() as connection:
        await register_vector(connection)
        for rows, dimension in SHAPES:
            figures += await _measure_shape(session, connection, rows, dimension)
    return figures


async def _measure_shape(
    session: Session, connection: Connection, count: int, dimension: int
) -> list[Figure]:
    rows = _make_rows(count, dimension)

    async def ours(space: Space) -> None:
        # In batches of one transaction each, as a run does.
        for start in range(0, len(rows), LARGEST_BATCH):
            async with connection.transaction():
                await load_vectors(connection, space, rows[start : start + LARGEST_BATCH])

    async def one_by_one(space: Space) -> None:
        insert = INSERT_ONE.format(table=space.vectors)
        for content_key, vector in rows[:STATEMENTS]:
            # The seed's form: the vector as text in the statement, each row a transaction.
            text = "'" + str(vector.tolist()).replace(" ", "") + "')"
            await connection.execute(insert + text, content_key)

    fastest = slowest = server = 0.0
    for _ in range(REPETITIONS):
        async with _empty_space(session, connection, dimension) as space:
            seconds = await _time(connection, ours, space)
            fastest = max(fastest, count / seconds)
            server = max(server, await _time_server(session, connection, space, count))
        async with _empty_space(session, connection, dimension) as space:
            slowest = max(slowest, STATEMENTS / await _time(connection, one_by_one, space))
    name = f"{count:,} x {dimension}"
    return [
        Figure(
            name,
            fastest,
            server,
            "COPY from the server's disk",
            "rows/s",
            Bar("ratio", "at least", 0.7),
        ),
        Figure(name, fastest, slowest, "an INSERT a row", "rows/s"),
    ]


async def _time(
    connection: Connection, work: Callable[[Space], Awaitable[None]], space: Space
) -> float:
    # What earlier work left to be written must not fall into this one's time.
    await connection.execute("CHECKPOINT")
    start = time.perf_counter()
    await work(space)
    return time.perf_counter() - start


async def _time_server(session: Session, connection: Connection, filled: Space, rows: int) -> float:
    """Return the rows a second of a server-side binary COPY of a table's rows into its like."""
    directory = await connection.fetchval("SHOW data_directory")
    file = Path(directory) / f"bench-{filled.vectors.name}.copy"
    place = Literal(str(file))
    await connection.execute(f"COPY {filled.vectors} ({NAMES}) TO {place} (FORMAT binary)")

    async def copy(space: Space) -> None:
        status = await connection.execute(
            f"COPY {space.vectors} ({NAMES}) FROM {place} (FORMAT binary)"
        )
        if status != f"COPY {rows}":
            raise MeasurementFailed(f"The server answered {status!r}; COPY {rows} was expected.")

    try:
        async with _empty_space(session, connection, filled.dimension) as space:
            return rows / await _time(connection, copy, space)
    finally:
        file.unlink()


@asynccontextmanager
async def _empty_space(
    session: Session, connection: Connection, dimension: int
) -> AsyncIterator[Space]:
    async with session.fresh_index() as index:
        kind = SpaceKind(index, "multimodalembedding@001", dimension, "none")
        yield await create_tables(connection, kind)


def _make_rows(count: int, dimension: int) -> list[Row]:
    random = np.random.default_rng(dimension)
    vectors = random.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # As long as what a listing gives: md5, crc32c and size.
    keys = (f"md5:{number:024d},crc32c:{number:08d},{4096}" for number in range(count))
    return list(zip(keys, vectors, strict=True))
