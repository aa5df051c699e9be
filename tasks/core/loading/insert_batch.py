"""Make a batch durable: its vectors and its bookkeeping in one transaction, or neither."""

import asyncio
from pathlib import Path

from tasks.core.csv_parts import read_rows
from tasks.core.database.statements import statements_of
from tasks.core.runs.accounting import finish_batch
from tasks.core.runs.run import Run
from tasks.core.runs.space_lock import require_running
from tasks.core.spaces.rows import load_vectors
from tasks.core.types import Counts, Vector

sql = statements_of(__name__)

ROWS_AT_ONCE = 256
"""Rows parsed before others get their turn: 2 to 20 ms of work."""


async def insert_batch(run: Run, batch: int, counts: Counts) -> Counts:
    """Write an embedded batch into the space; a batch already written is left alone.

    Raises:
        DatabaseUnavailable: the connection was lost; nothing of the batch was written.
        SpaceBusy: the run is over; nothing was written.
        ArtifactError: the batch's CSV part does not read back.
    """
    with run.timed("insert_batches"):
        # One batch's vectors in memory at a time: embedding the others goes on meanwhile.
        async with run.inserting:
            vectors = await _read_vectors(run.part(batch), run.space.dimension)
            async with run.database.transaction() as connection:
                await require_running(connection, run.run_id)
                if await finish_batch(connection, run.run_id, batch, counts):
                    asked = await connection.fetch(sql("select_answered"), run.run_id, batch)
                    rows = [
                        (row["content_key"], vectors[row["image_id"]])
                        for row in asked
                        if row["image_id"] in vectors
                    ]
                    await load_vectors(connection, run.space, rows)
            run.vectors_written = run.vectors_written or bool(vectors)
        await run.lock.give_back(batch)
    return counts


async def _read_vectors(part: Path, dimension: int) -> dict[str, Vector]:
    """Read a part without holding up the calls that are in flight."""
    vectors = {}
    for count, (name, vector, _) in enumerate(read_rows(part, dimension)):
        vectors[name] = vector
        if count % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return vectors
