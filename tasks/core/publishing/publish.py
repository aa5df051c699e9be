"""Show a sync to readers: in one transaction the listing becomes the index's images."""

import logging

from tasks.core.database.connections import Connection, without_nested_loops
from tasks.core.database.statements import affected_rows, statements_of
from tasks.core.errors import GuardStopped
from tasks.core.runs.run import Run
from tasks.core.runs.space_lock import require_running
from tasks.core.spaces.drift import find_losses
from tasks.core.spaces.registry import Space, count_shown, find_shown_space
from tasks.core.spaces.view import hold_index, show_space
from tasks.core.text import count
from tasks.core.types import Publication

logger = logging.getLogger(__name__)
sql = statements_of(__name__)


async def publish(run: Run) -> Publication:
    """Merge the listing into the index's images, remove what is gone, lead the view to the space.

    Raises:
        GuardStopped: the listing is older than what readers see, more is gone than the plan let
            pass, the run is a try-out, or readers would lose images by the switch to its space.
        SpaceBusy: the run is over.
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: the view belongs to another role, or the user may not create views.
        In each case readers see what they saw.
    """
    space = run.space
    with run.timed("publish"):
        async with run.database.transaction() as connection:
            await require_running(connection, run.run_id)
            await hold_index(connection, space.index)
            shown = await find_shown_space(connection, space.index)
            await _require_newest(connection, run)
            switches = shown is not None and shown.space_id != space.space_id
            if switches:
                _require_whole_listing(run)
            async with without_nested_loops(connection):
                changed = await _merge_listing(connection, run)
                removed = await _remove_gone(connection, run, shown or space)
                if shown is not None and switches:
                    await _require_nothing_lost(connection, run, shown)
                images = await count_shown(connection, space)
            await show_space(connection, space, run.database.extension_schema)
            await connection.execute(sql("update_run_published"), run.run_id, changed, removed)
        if changed or removed:
            async with run.database.connection() as connection:
                await connection.execute(sql("vacuum_images", images=space.images), timeout=None)
    return Publication(images, changed, removed)


async def _require_newest(connection: Connection, run: Run) -> None:
    """Readers must not go back in time: another run may have published while this one embedded."""
    newer = await connection.fetchval(sql("select_newer_publication"), run.run_id)
    if newer is not None:
        raise GuardStopped(
            f"Run {newer} has published a later listing of gs://{run.options.bucket}/"
            f"{run.options.prefix} meanwhile: the index was left as it is. The vectors are kept."
            " Run again, which asks only for what came since."
        )


def _require_whole_listing(run: Run) -> None:
    if run.options.limit is not None:
        raise GuardStopped(
            f"A try-out of {count(run.listed, 'image')} with a limit does not replace what readers"
            " see: the index was left as it is. Try it under another index name, or run without"
            " the limit."
        )


async def _merge_listing(connection: Connection, run: Run) -> int:
    status = await connection.execute(
        sql("merge_listing", **run.space.tables),
        run.run_id,
        run.options.bucket,
        run.space.space_id,
    )
    return affected_rows(status)


async def _remove_gone(connection: Connection, run: Run, shown: Space) -> int:
    """Remove the images that left the bucket; raising inside the transaction takes that back."""
    options = run.options
    if options.limit is not None or run.plan is None:
        # A listing that was cut short says nothing of what is not in it.
        return 0
    removed: int = await connection.fetchval(
        sql("delete_gone", **shown.tables), run.run_id, options.bucket, options.prefix
    )
    allowed = max(run.plan.gone, options.max_deletions * run.plan.indexed)
    if removed > allowed:
        raise GuardStopped(
            f"{count(removed, 'image is', 'images are')} gone where the plan saw"
            f" {run.plan.gone:,}: the index was left as it is. Run again to plan anew."
        )
    return removed


async def _require_nothing_lost(connection: Connection, run: Run, shown: Space) -> None:
    """A switch of space keeps every image that readers see and the bucket still has.

    Raises:
        GuardStopped: some of them have no vector in the new space, or it was refused more of them
            than max_refusals allows.
    """
    space = run.space
    losses = await find_losses(connection, shown, space)
    missing, refused = losses.missing, losses.refused
    kept = f"The index still shows space {shown.space_id} ({shown.label})."
    if missing.images:
        raise GuardStopped(
            f"Space {space.space_id} ({space.label}) has no vector yet of"
            f" {count(missing.images, 'image')} that readers see{missing.such_as}. {kept} Run again"
            " for what is left, and for the other buckets and prefixes of the index."
        )
    if refused.images:
        seen = await count_shown(connection, shown)
        if refused.images > run.options.max_refusals * seen:
            raise GuardStopped(
                f"Space {space.space_id} ({space.label}) was refused"
                f" {count(refused.images, 'image')} of {seen:,} that readers see{refused.such_as};"
                f" at most {run.options.max_refusals:.1%} may be. {kept} If that is meant, set"
                f" max_refusals={min(1.0, refused.images / seen + 0.001):.3f}."
            )
        logger.warning(
            "Space %d was refused %s that readers saw%s.",
            space.space_id,
            count(refused.images, "image"),
            refused.such_as,
        )
