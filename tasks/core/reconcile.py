"""Carry out the parts of a sync that need no call: reuse vectors, and remove what is gone."""

from tasks.core.errors import GuardStopped
from tasks.core.hnsw import drop_hnsw
from tasks.core.run import Run
from tasks.core.spaces import find_space, space_table
from tasks.core.statements import sql
from tasks.core.types import RemovalReport, ReuseReport, SyncPlan

REBUILD_SHARE = 0.15
"""Rewriting more of a table than this costs more through its HNSW index than building it anew
(measured break-even: 9 to 26% of the rows)."""


async def reuse_vectors(run: Run, plan: SyncPlan) -> ReuseReport:
    """Give images whose content the space has already that vector, in one transaction.

    These are the touched (same name, written again) and the duplicates (moved, copied, or twins
    of an image embedded in this run). What refused one refuses its twins.
    """
    with run.timed("reuse_vectors"):
        space = await find_space(run)
        expected = plan.images("touched") + plan.images("duplicate")
        if not expected:
            return ReuseReport(0, 0)
        scope = (run.run_id, run.options.bucket)
        table = space_table(space)
        async with run.database.transaction() as connection:
            if expected > REBUILD_SHARE * max(plan.stored, 1):
                await drop_hnsw(connection, space)
            touched = _affected(await connection.execute(sql("touch_rows", table=table), *scope))
            copied = _affected(
                await connection.execute(sql("copy_duplicates", table=table), *scope)
            )
            await connection.execute(sql("copy_refusals"), *scope, space.space_id)
            await connection.execute(sql("update_run_changes"), run.run_id, 0, touched + copied, 0)
    return ReuseReport(touched, copied)


async def remove_gone(run: Run, plan: SyncPlan) -> RemovalReport:
    """Delete the rows of images that left the bucket, and of versions that were refused.

    Raises:
        GuardStopped: more is gone now than the guard let pass; nothing was deleted.
    """
    options = run.options
    with run.timed("remove_gone"):
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
            if options.limit is None:
                gone = _affected(
                    await connection.execute(sql("delete_gone_rows", table=table), *scope)
                )
                _refuse_more_than_planned(run, gone, plan)
                await connection.execute(sql("delete_gone_refusals"), *scope, space.space_id)
            if gone + stale > REBUILD_SHARE * max(plan.stored, 1):
                await drop_hnsw(connection, space)
            await connection.execute(sql("update_run_changes"), run.run_id, 0, 0, gone + stale)
    return RemovalReport(gone, stale)


def _refuse_more_than_planned(run: Run, gone: int, plan: SyncPlan) -> None:
    """Raising inside the transaction takes the deletion back."""
    allowed = max(plan.images("gone"), run.options.max_deletions * plan.stored)
    vanished = run.progress.gone
    if gone > allowed + vanished:
        raise GuardStopped(
            f"{gone:,} images are gone where the plan saw {plan.images('gone'):,}: nothing was"
            " deleted. Run again to plan anew."
        )


def _affected(status: str) -> int:
    """Return the row count of a command tag, such as "DELETE 3" or "INSERT 0 3"."""
    return int(status.rsplit(" ", 1)[1])
