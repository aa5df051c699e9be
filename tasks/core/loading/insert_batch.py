"""Make a batch durable: its vectors and its bookkeeping in one transaction, or neither.

New rows go straight into the space's table by binary COPY; rows that replace others wait in a
temporary table and are upserted. Figures are in tests/bench.
"""

import asyncio
from pathlib import Path

from tasks.core.csv_parts import read_rows
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.runs.run import Run
from tasks.core.runs.space import find_space
from tasks.core.spaces.registry import space_table
from tasks.core.spaces.rows import Row, load_rows
from tasks.core.types import BatchReport, Space, Vector

sql = statements_of(__name__)
batches_sql = statements_of("tasks.core.runs.batches")

ROWS_AT_ONCE = 256
"""Rows parsed before others get their turn: 2 to 20 ms of work."""


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
        batches_sql("select_batch"), run.run_id, batch, space.space_id, bucket
    ):
        vector = vectors.get(row["image_id"])
        if vector is None or row["gone"]:
            continue
        rows = fresh if row["kind"] == "new" else changed
        rows.append((bucket, row["image_id"], vector, row["generation"], row["content_hash"]))
    return fresh, changed
