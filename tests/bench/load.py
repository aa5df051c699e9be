"""How fast vectors become rows, against the server reading the same rows from its own disk."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from pgvector.asyncpg import register_vector

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, Literal, statements_of
from tasks.core.planning.plan_sync import LARGEST_BATCH
from tasks.core.spaces.registry import Space
from tasks.core.spaces.rows import COLUMNS, Row, load_rows
from tests.bench.figures import Bar, Figure
from tests.bench.session import BUCKET, MeasurementFailed, Session
from tests.bench.tables import create_space_table

registry_sql = statements_of("tasks.core.spaces.registry")

TITLE = "Load: new rows into a table with its key and generated column"
SHAPES = ((100_000, 128), (20_000, 1408))
REPETITIONS = 3
STATEMENTS = 1_000
"""Rows of the one-INSERT-a-row yardstick: enough for a rate, and over in seconds."""

NAMES = ", ".join(COLUMNS)
INSERT_ONE = "INSERT INTO {table} (bucket, image_id, generation, embedding) VALUES ($1, $2, $3, "


async def measure(session: Session) -> list[Figure]:
    """Measure each shape."""
    figures = []
    async with session.connection() as connection:
        await register_vector(connection)
        for rows, dimension in SHAPES:
            figures += await _measure_shape(connection, _make_rows(rows, dimension), dimension)
    return figures


async def _measure_shape(connection: Connection, rows: list[Row], dimension: int) -> list[Figure]:
    async def ours(space: Space) -> None:
        # In batches of one transaction each, as a run does.
        for start in range(0, len(rows), LARGEST_BATCH):
            async with connection.transaction():
                await load_rows(connection, space, rows[start : start + LARGEST_BATCH], [])

    async def one_by_one(space: Space) -> None:
        insert = INSERT_ONE.format(table=Identifier(space.table, "birdwalk"))
        for bucket, image_id, vector, generation, _ in rows[:STATEMENTS]:
            # The seed's form: the vector as text in the statement, each row a transaction.
            text = "'" + str(vector.tolist()).replace(" ", "") + "')"
            await connection.execute(insert + text, bucket, image_id, generation)

    fastest = slowest = server = 0.0
    for _ in range(REPETITIONS):
        async with _empty_table(connection, dimension) as space:
            seconds = await _time(connection, ours, space)
            fastest = max(fastest, len(rows) / seconds)
            server = max(server, await _time_server(connection, space, len(rows)))
        async with _empty_table(connection, dimension) as space:
            slowest = max(slowest, STATEMENTS / await _time(connection, one_by_one, space))
    name = f"{len(rows):,} x {dimension}"
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


async def _time_server(connection: Connection, filled: Space, rows: int) -> float:
    """Return the rows a second of a server-side binary COPY of a table's rows into its like."""
    directory = await connection.fetchval("SHOW data_directory")
    file = Path(directory) / f"bench-{uuid.uuid4().hex}.copy"
    source = Identifier(filled.table, "birdwalk")
    place = Literal(str(file))
    await connection.execute(f"COPY {source} ({NAMES}) TO {place} (FORMAT binary)")

    async def copy(space: Space) -> None:
        target = Identifier(space.table, "birdwalk")
        status = await connection.execute(f"COPY {target} ({NAMES}) FROM {place} (FORMAT binary)")
        if status != f"COPY {rows}":
            raise MeasurementFailed(f"The server answered {status!r}; COPY {rows} was expected.")

    try:
        async with _empty_table(connection, filled.dimension) as space:
            return rows / await _time(connection, copy, space)
    finally:
        file.unlink()


@asynccontextmanager
async def _empty_table(connection: Connection, dimension: int) -> AsyncIterator[Space]:
    """Yield a space with an empty table of the form that birdwalk gives them."""
    space = Space(
        space_id=0,
        index="bench",
        model="multimodalembedding@001",
        dimension=dimension,
        preprocessing="none",
        table=f"bench_{uuid.uuid4().hex[:12]}",
        status="loading",
    )
    table = Identifier(space.table, "birdwalk")
    await create_space_table(connection, table, dimension)
    try:
        yield space
    finally:
        await connection.execute(registry_sql("drop_space_table", table=table))


def _make_rows(count: int, dimension: int) -> list[Row]:
    random = np.random.default_rng(dimension)
    vectors = random.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        (BUCKET, f"photos/2026/{number:08d}.jpg", vector, 1_700_000_000_000_000, "md5:" + "x" * 24)
        for number, vector in enumerate(vectors)
    ]
