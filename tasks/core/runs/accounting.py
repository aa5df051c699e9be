"""What every batch of every run has sent, so that prices add up to the bill.

A batch is counted every two seconds while it lasts, and when it is durable, in the transaction that
writes its vectors. A killed process has counted all but its last seconds, and the next run on its
disk counts those by the CSV parts: only calls that were under way at the kill are missing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseError
from tasks.core.models import MODELS
from tasks.core.runs.run import Run
from tasks.core.types import Counts

batches = statements_of("tasks.core.runs.batches")
runs = statements_of("tasks.core.runs.runs")
logger = logging.getLogger(__name__)

SECONDS_BETWEEN_COUNTS = 2.0
"""What a killed process loses of the account at most, where nobody finds its CSV parts."""

SECONDS_TO_COUNT = 5.0


async def count_sent(connection: Connection, run_id: int, counts: Mapping[int, Counts]) -> None:
    """Count what batches have sent so far that are not durable yet."""
    await connection.executemany(
        batches("update_sent"),
        [
            (
                run_id,
                batch,
                sent.recovered,
                sent.refused,
                sent.gone,
                sent.leftover,
                sent.calls,
                sent.answers,
                sent.retries,
                sent.deferrals,
            )
            for batch, sent in counts.items()
        ],
    )


async def finish_batch(connection: Connection, run_id: int, batch: int, counts: Counts) -> bool:
    """Note that a batch is durable, in the transaction that makes it so.

    Returns:
        False where it was already: the caller writes nothing.
    """
    first = await connection.fetchval(
        batches("finish_batch"),
        run_id,
        batch,
        counts.embedded,
        counts.recovered,
        counts.refused,
        counts.gone,
        counts.leftover,
        counts.calls,
        counts.answers,
        counts.retries,
        counts.deferrals,
    )
    return first is not None


async def sum_up(connection: Connection, run_id: int, model: str) -> None:
    """Set a run's totals and its price to what its batches add up to."""
    price = str(MODELS[model].price) if model in MODELS else None
    await connection.execute(runs("update_run_totals"), run_id, price)


async def read_totals(connection: Connection, run_id: int, without: tuple[int, ...] = ()) -> Counts:
    """Return what a run's batches add up to, but for some of them, as far as they were counted."""
    return Counts.of_row(await connection.fetchrow(batches("select_run_totals"), run_id, without))


async def read_sent(connection: Connection, run_id: int, batch: int) -> Counts:
    """Return what was counted of a batch that is not durable."""
    row = await connection.fetchrow(batches("select_sent"), run_id, batch)
    return Counts() if row is None else Counts.of_row(row)


async def count_open_batches(connection: Connection, run_id: int, without: tuple[int, ...]) -> int:
    """Return how many batches of a run are not durable, but for some of them."""
    return int(await connection.fetchval(batches("count_open_batches"), run_id, without))


@asynccontextmanager
async def counted(run: Run) -> AsyncIterator[None]:
    """Count every two seconds, and at the end of the block, what this process has sent.

    Each time the process also looks how many work for the run, and paces its calls to its share.
    """
    counting = asyncio.create_task(_count_again_and_again(run))
    try:
        yield
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting
        await _count(run)


async def _count_again_and_again(run: Run) -> None:
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_COUNTS)
        run.limiter.share(run.lock.workers)
        await _count(run)


async def _count(run: Run) -> None:
    if not run.counts and run.lock.workers == 1:
        return
    sent = {batch: replace(counts) for batch, counts in run.counts.items()}
    try:
        async with asyncio.timeout(SECONDS_TO_COUNT), run.database.transaction() as connection:
            await count_sent(connection, run.run_id, sent)
            run.progress.others = await read_totals(connection, run.run_id, tuple(sent))
    except (DatabaseError, TimeoutError) as error:
        # Postgres may be away; the next count has it all.
        logger.debug("What run %d has sent was not counted: %s", run.run_id, error)
