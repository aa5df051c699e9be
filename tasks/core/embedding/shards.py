"""Share a run's batches among processes: who is alive, what is finished, what is left."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseError, InvalidInput
from tasks.core.runs.accounting import Tally, count_sent, count_unfinished, read_sent
from tasks.core.runs.index_lock import IndexHold, shard_key
from tasks.core.runs.outages import outlasting
from tasks.core.runs.run import Run
from tasks.core.types import Batch, SyncPlan, cut_batches

batches_sql = statements_of("tasks.core.runs.batches")
locks_sql = statements_of("tasks.core.database.locks")
runs_sql = statements_of("tasks.core.runs.runs")

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_COUNTS = 5.0
"""How often a shard counts what it has sent: what it loses of it at most when it is killed."""

SECONDS_TO_COUNT = 5.0


@outlasting
async def unfinished_batches(run: Run, plan: SyncPlan) -> tuple[Batch, ...]:
    """Return the batches of the plan that are not durable yet.

    What a shard has sent for one of them is counted with what this process will send.
    """
    finished = await _finished(run)
    async with run.database.connection() as connection:
        sent = await read_sent(connection, run.run_id)
    for batch, tally in sent.items():
        # On a disk that the shard shares, its part shows what it had got.
        if not run.part(batch).exists():
            run.tallies.setdefault(batch, tally)
    return tuple(batch for batch in plan.batches if batch.number not in finished)


@outlasting
async def batches_of_shard(
    run: Run, shard: int, shards: int, images: int, batch_size: int
) -> tuple[Batch, ...]:
    """Return a shard's batches that are not durable yet: every `shards`-th of all."""
    finished = await _finished(run)
    mine = cut_batches(images, batch_size)[shard::shards]
    left = tuple(batch for batch in mine if batch.number not in finished)
    run.progress.total = sum(batch.last - batch.first + 1 for batch in left)
    return left


@asynccontextmanager
async def counted(run: Run) -> AsyncIterator[None]:
    """Count every few seconds, and at the end of the block, what a shard has sent.

    Its disk may be one that nobody else sees: what it is killed with, or fails with, would be in no
    price.
    """
    counting = asyncio.create_task(_count_again_and_again(run))
    try:
        yield
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting
        await _count(run, last=True)


async def _count_again_and_again(run: Run) -> None:
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_COUNTS)
        await _count(run)


async def _count(run: Run, *, last: bool = False) -> None:
    tallies: dict[int, Tally] = {batch: replace(tally) for batch, tally in run.tallies.items()}
    try:
        async with asyncio.timeout(SECONDS_TO_COUNT), run.database.transaction() as connection:
            if last:
                # The run may have ended before its shard: nobody else would sum it up.
                await count_unfinished(connection, run.run_id, run.options.model, tallies)
            else:
                await count_sent(connection, run.run_id, tallies)
    except (DatabaseError, TimeoutError) as error:
        # Postgres may be away; the next count has it all.
        logger.debug("What shard of run %d has sent was not counted: %s", run.run_id, error)


async def live_shards(run: Run, shards: int) -> frozenset[int]:
    """Return the shards whose process is alive."""
    keys = [shard_key(run.run_id, shard) for shard in range(shards)]
    async with run.database.connection() as connection:
        rows = await connection.fetch(locks_sql("select_held"), keys)
    return frozenset(row["place"] for row in rows)


async def give_up_shard(run: Run, shard: int) -> bool:
    """Keep a shard that seems dead from working on: from now on its batches are the run's own.

    Returns:
        False where it is alive after all: nothing was changed.

    Raises:
        InvalidInput: the run is itself a shard's.
        IndexBusy: the run lost its index to another.
    """
    if not isinstance(run.hold, IndexHold):
        raise InvalidInput("Only the process that holds the index may give up its shards.")
    await run.hold.take()
    async with run.database.transaction() as connection:
        dead = await connection.fetchval(locks_sql("lock_dead_shard"), shard_key(run.run_id, shard))
        if dead:
            await connection.execute(runs_sql("give_up_shard"), run.run_id, shard)
    return bool(dead)


async def _finished(run: Run) -> frozenset[int]:
    async with run.database.connection() as connection:
        rows = await connection.fetch(batches_sql("select_finished_batches"), run.run_id)
    return frozenset(row["batch"] for row in rows)


async def count_done(run: Run) -> None:
    """Set the run's progress from its durable batches: for a run whose shards do the work."""
    async with run.database.connection() as connection:
        row = await connection.fetchrow(batches_sql("select_run_totals"), run.run_id)
    run.progress.by_batch = {0: row["images"]}
    run.progress.answers = row["answers"]
    run.progress.deferrals = row["deferrals"]
