"""Share a run's batches among processes: who is alive, what is finished, what is left."""

from tasks.core.errors import InvalidInput
from tasks.core.holds import IndexHold
from tasks.core.run import Run
from tasks.core.statements import sql
from tasks.core.types import Batch, SyncPlan, cut_batches


async def unfinished_batches(run: Run, plan: SyncPlan) -> tuple[Batch, ...]:
    """Return the batches of the plan that are not durable yet."""
    finished = await _finished(run)
    return tuple(batch for batch in plan.batches if batch.number not in finished)


async def batches_of_shard(
    run: Run, shard: int, shards: int, images: int, batch_size: int
) -> tuple[Batch, ...]:
    """Return a shard's batches that are not durable yet: every `shards`-th of all."""
    finished = await _finished(run)
    mine = cut_batches(images, batch_size)[shard::shards]
    left = tuple(batch for batch in mine if batch.number not in finished)
    run.progress.total = sum(batch.last - batch.first + 1 for batch in left)
    return left


async def live_shards(run: Run, shards: int) -> frozenset[int]:
    """Return the shards whose process is alive."""
    async with run.database.connection() as connection:
        rows = await connection.fetch(sql("select_live_shards"), run.run_id, shards)
    return frozenset(row["shard"] for row in rows)


async def give_up_shard(run: Run, shard: int) -> bool:
    """Keep a shard that seems dead from working on: from now on its batches are the run's own.

    Returns:
        False where it is alive after all: nothing was changed.

    Raises:
        InvalidInput: the run is itself a shard's.
    """
    if not isinstance(run.hold, IndexHold):
        raise InvalidInput("Only the process that holds the index may give up its shards.")
    return await run.hold.take_shard(run.run_id, shard)


async def _finished(run: Run) -> frozenset[int]:
    async with run.database.connection() as connection:
        rows = await connection.fetch(sql("select_finished_batches"), run.run_id)
    return frozenset(row["batch"] for row in rows)
