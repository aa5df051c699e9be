"""Carry out the parts of a sync that need no call: reuse vectors, and remove what is gone."""

from tasks.core.database.connections import Connection, without_nested_loops
from tasks.core.database.statements import statements_of
from tasks.core.errors import GuardStopped
from tasks.core.runs.run import Run
from tasks.core.runs.space import find_space
from tasks.core.spaces.hnsw import drop_hnsw
from tasks.core.spaces.registry import space_table
from tasks.core.text import count
from tasks.core.types import RemovalReport, ReuseReport, Space, SyncPlan

sql = statements_of(__name__)
registry_sql = statements_of("tasks.core.spaces.registry")
runs_sql = statements_of("tasks.core.runs.runs")

REBUILD_SHARE = 0.15
"""Rewriting more of a table than this costs more through its HNSW index than building it anew
(measured break-even: 9 to 26% of the rows)."""

INDEXED_ROWS_PER_SECOND = 85
"""Rows that go in through an HNSW index at 1,408 dimensions: measured at an ef_construction of 64
were 182 to 368, and at 128 0.57 of that."""


async def reuse_vectors(run: Run, plan: SyncPlan) -> ReuseReport:
    """Give images whose content the space has that vector, in one transaction.

    These are the touched (same name, written again) and the duplicates: moved or copied images,
    and twins of an image embedded in this run. So it is done twice: before the batches, which may
    overwrite the only row of a content that moved, and after them, for the twins. What refused
    one refuses its twins, and what leaves one for the next run leaves them; what has a vector now
    is refused no longer.
    """
    # The batches are between the two: their time is not this step's.
    with run.timed("reuse_twins" if "reuse_vectors" in run.spans else "reuse_vectors"):
        await run.hold.take()
        space = await find_space(run)
        expected = plan.images("touched") + plan.images("duplicate")
        rewritten = expected
        if run.options.requests_per_minute > 60 * INDEXED_ROWS_PER_SECOND:
            # At a slower pace the index keeps up, and readers keep their fast searches.
            rewritten += plan.calls
        await _drop_hnsw_if_worn(run, space, rewritten)
        async with run.database.transaction() as connection:
            report = await _reuse(connection, run, space) if expected else ReuseReport(0, 0)
            await connection.execute(
                sql("delete_answered_refusals", table=space_table(space)),
                space.space_id,
                run.options.bucket,
            )
    return report


async def _drop_hnsw_if_worn(run: Run, space: Space, rewritten: int) -> None:
    """Drop the approximate index where building it anew is cheaper than rewriting so many rows.

    It covers all buckets and prefixes of the space, of which the run may sync a small part.
    """
    if not rewritten:
        return
    async with run.database.connection() as connection:
        rows = await connection.fetchval(registry_sql("count_rows", table=space_table(space)))
    if rewritten > REBUILD_SHARE * rows:
        await drop_hnsw(run, space)


async def _reuse(connection: Connection, run: Run, space: Space) -> ReuseReport:
    scope = (run.run_id, run.options.bucket)
    table = space_table(space)
    touched = _affected(await connection.execute(sql("touch_rows", table=table), *scope))
    copied = await _copy_duplicates(connection, run, space)
    async with without_nested_loops(connection):
        await connection.execute(sql("copy_refusals"), *scope, space.space_id)
        await connection.execute(sql("copy_errors"), run.run_id)
    await connection.execute(runs_sql("update_run_changes"), run.run_id, 0, touched + copied, 0)
    return ReuseReport(touched, copied)


async def _copy_duplicates(connection: Connection, run: Run, space: Space) -> int:
    """Give missing images the vector of their content; return how many got one."""
    table, bucket = space_table(space), run.options.bucket
    await connection.execute(sql("create_copies"))
    async with without_nested_loops(connection):
        await connection.execute(sql("fill_copies", table=table), run.run_id, bucket)
    await connection.execute("ANALYZE copies")
    return _affected(await connection.execute(sql("copy_duplicates", table=table), bucket))


async def remove_gone(run: Run, plan: SyncPlan) -> RemovalReport:
    """Delete the rows of images that left the bucket, and of versions that were refused.

    Raises:
        GuardStopped: more is gone now than the guard let pass; nothing was deleted.
    """
    options = run.options
    with run.timed("remove_gone"):
        await run.hold.take()
        space = await find_space(run)
        table = space_table(space)
        scope = (run.run_id, options.bucket, options.prefix)
        async with run.database.transaction() as connection:
            stale = _affected(
                await connection.execute(
                    sql("delete_refused_rows", table=table), space.space_id, options.bucket
                )
            )
            gone = 0
            # Only a batch finds an image gone that the plan did not: else there is nothing to seek.
            if options.limit is None and (plan.gone or plan.calls):
                gone = _affected(
                    await connection.execute(sql("delete_gone_rows", table=table), *scope)
                )
                _refuse_more_than_planned(run, plan, gone)
            if options.limit is None:
                await connection.execute(sql("delete_gone_refusals"), *scope, space.space_id)
            await connection.execute(runs_sql("update_run_changes"), run.run_id, 0, 0, gone + stale)
        await _drop_hnsw_if_worn(run, space, gone + stale)
    return RemovalReport(gone, stale)


def _refuse_more_than_planned(run: Run, plan: SyncPlan, gone: int) -> None:
    """Raising inside the transaction takes the deletion back."""
    allowed = max(plan.gone, run.options.max_deletions * plan.stored)
    if gone > allowed:
        raise GuardStopped(
            f"{count(gone, 'image is', 'images are')} gone where the plan saw {plan.gone:,}:"
            " nothing was deleted. Run again to plan anew."
        )


def _affected(status: str) -> int:
    """Return the row count of a command tag, such as "DELETE 3" or "INSERT 0 3"."""
    return int(status.rsplit(" ", 1)[1])
