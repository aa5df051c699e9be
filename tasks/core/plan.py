"""Decide what a sync must embed, cut it into batches, and say what it costs."""

from tasks.core.neighbours import find_vector
from tasks.core.postgres import Connection, sql
from tasks.core.run import Run
from tasks.core.spaces import find_space, space_table
from tasks.core.types import Space, SyncPlan

SECONDS_A_BATCH = 20.0
MOST_BATCHES = 300
SMALLEST_BATCH = 10
LARGEST_BATCH = 5000


def choose_batch_size(images: int, requests_per_minute: float) -> int:
    """Return how many images a batch should have.

    A batch is a Prefect task run, which costs about 36 ms of server and client time, and a graph
    of more than 300 is not readable: so about 20 s of work, and at most 300 batches a run.
    """
    wanted = max(requests_per_minute / 60 * SECONDS_A_BATCH, images / MOST_BATCHES)
    return int(min(max(wanted, SMALLEST_BATCH), LARGEST_BATCH))


async def _refuse_unknown_query(connection: Connection, run: Run, space: Space) -> None:
    """Before anything is paid for: the image to verify with must be listed, or known already."""
    query = run.options.query
    if query is not None and not await connection.fetchval(
        sql("select_is_listed"), run.run_id, query
    ):
        await find_vector(connection, run, space, query)


async def plan_sync(run: Run) -> SyncPlan:
    """Compare the listing with the space's table; write the batches' work lists.

    Images of an unchanged generation are left alone, and so are those refused before.
    """
    options = run.options
    with run.timed("plan_sync"):
        space = await find_space(run)
        table = space_table(space)
        async with run.database.transaction() as connection:
            await connection.execute(sql("delete_old_pending"), options.index, run.run_id)
            scope = (run.run_id, options.bucket, space.space_id)
            row = await connection.fetchrow(sql("count_changes", table=table), *scope)
            await _refuse_unknown_query(connection, run, space)
            calls = row["new"] + row["changed"]
            size = options.batch_size or choose_batch_size(calls, options.requests_per_minute)
            await connection.execute(sql("insert_pending", table=table), *scope, size)
    run.progress.total = calls
    run.plan = SyncPlan(
        listed=row["listed"],
        new=row["new"],
        changed=row["changed"],
        unchanged=row["listed"] - calls - row["refused_before"],
        refused_before=row["refused_before"],
        batch_size=size,
        price=calls * run.model.price,
        seconds_at_quota=calls * 60 / options.requests_per_minute,
    )
    return run.plan
