"""Make a batch durable: its vectors and its bookkeeping in one transaction, or neither.

New rows go straight into the space's table by binary COPY; rows that replace others wait in a
temporary table and are upserted. Figures are in tests/bench.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from tasks.core.copying import pack_rows
from tasks.core.csvfile import read_rows
from tasks.core.postgres import Connection
from tasks.core.run import Run
from tasks.core.spaces import find_space, space_table
from tasks.core.statements import sql
from tasks.core.types import BatchReport, Space, Vector

COLUMNS = ("bucket", "image_id", "embedding", "generation", "content_hash")

ROWS_AT_ONCE = 256
"""Rows parsed before others get their turn: 2 to 20 ms of work."""

Row: TypeAlias = tuple[str, str, Vector, int, str | None]
"""A row of a space's table, in the order of COLUMNS."""


async def insert_batch(run: Run, report: BatchReport) -> BatchReport:
    """Write an embedded batch into the space's table; a batch already written is left alone.

    Raises:
        DatabaseUnavailable: the connection was lost; nothing of the batch was written.
        ArtifactError: the batch's CSV part does not read back.
    """
    with run.timed("insert_batches"):
        await run.hold.take()
        space = await find_space(run)
        # One batch's vectors in memory at a time: embedding the others goes on meanwhile.
        async with run.inserting:
            vectors = await _read_vectors(run.part(report.batch), space.dimension)
            async with run.database.transaction() as connection:
                if await _record_batch(connection, run, report):
                    fresh, changed = await _rows(connection, run, space, report.batch, vectors)
                    await load_rows(connection, space, fresh, changed)
                    await connection.execute(
                        sql("delete_overruled_refusals", table=space_table(space)),
                        run.run_id,
                        report.batch,
                        space.space_id,
                        run.options.bucket,
                    )
    return report


async def _read_vectors(part: Path, dimension: int) -> dict[str, Vector]:
    """Read a part without holding up the calls that are in flight."""
    vectors = {}
    for count, (name, vector, _) in enumerate(read_rows(part, dimension)):
        vectors[name] = vector
        if count % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return vectors


async def load_rows(
    connection: Connection, space: Space, fresh: list[Row], changed: list[Row]
) -> None:
    """Write rows inside the caller's transaction; `fresh` ones are expected not to exist yet."""
    try:
        async with connection.transaction():
            await _copy(connection, space.table, fresh, schema_name="birdwalk")
    except asyncpg.UniqueViolationError:
        changed = fresh + changed
    if changed:
        await connection.execute(sql("create_stage", dimension=space.dimension))
        await _copy(connection, "stage", changed)
        await connection.execute(sql("upsert_stage", table=space_table(space)))


async def _copy(connection: Connection, table: str, rows: Sequence[Row], **where: Any) -> None:
    await connection.copy_to_table(
        table, source=pack_rows(rows), columns=COLUMNS, format="binary", **where
    )


async def _record_batch(connection: Connection, run: Run, report: BatchReport) -> bool:
    """Return whether the batch is written for the first time."""
    first = await connection.fetchval(
        sql("insert_batch"),
        run.run_id,
        report.batch,
        report.images,
        report.embedded,
        report.recovered,
        report.refused,
        report.gone,
        report.pending,
        report.calls,
        report.answers,
        report.retries,
        report.deferrals,
    )
    return first is not None


async def _rows(
    connection: Connection, run: Run, space: Space, batch: int, vectors: dict[str, Vector]
) -> tuple[list[Row], list[Row]]:
    bucket = run.options.bucket
    fresh: list[Row] = []
    changed: list[Row] = []
    for row in await connection.fetch(
        sql("select_batch"), run.run_id, batch, space.space_id, bucket
    ):
        vector = vectors.get(row["image_id"])
        if vector is None or row["gone"]:
            continue
        rows = fresh if row["kind"] == "new" else changed
        rows.append((bucket, row["image_id"], vector, row["generation"], row["content_hash"]))
    return fresh, changed
