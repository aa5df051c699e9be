"""Point an index's view at the space that a run filled and verified."""

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import GuardStopped
from tasks.core.runs.run import Run
from tasks.core.runs.space import find_space
from tasks.core.spaces.registry import read_space, space_table
from tasks.core.spaces.view import activate, comment_view, refuse_a_taken_name
from tasks.core.text import count
from tasks.core.types import Space

registry_sql = statements_of("tasks.core.spaces.registry")


async def publish(run: Run) -> Space:
    """Point the index's view at the run's space, in one transaction; the old space stays.

    Raises:
        GuardStopped: the run was a try-out, or its space has far fewer rows than the one that
            readers see now; they go on seeing that one.
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: another view depends on the index, or the user may not create views.
    """
    with run.timed("publish"):
        await run.hold.take()
        space = await find_space(run)
        async with run.database.transaction() as connection:
            exists = await refuse_a_taken_name(connection, space.index)
            if space.status != "active" or not exists:
                await _refuse_a_lesser_space(connection, run, space)
                await activate(connection, space)
            else:
                await comment_view(connection, space)
        return await find_space(run)


async def _refuse_a_lesser_space(connection: Connection, run: Run, space: Space) -> None:
    """The gate checks what was listed; readers may have been shown more than that."""
    row = await connection.fetchrow(
        registry_sql("select_active_space"), space.index, space.space_id
    )
    if row is None:
        return
    shown = read_space(row)
    before = await connection.fetchval(registry_sql("count_rows", table=space_table(shown)))
    after = await connection.fetchval(registry_sql("count_rows", table=space_table(space)))
    kept = f"The index still shows its {count(before, 'image')} in space {shown.space_id}."
    if run.options.limit is not None:
        raise GuardStopped(
            f"A try-out of {count(after, 'image')} with a limit does not replace what readers see."
            f" {kept} Try it under another index name, or run without the limit."
        )
    if after < (1 - run.options.max_deletions) * before:
        share = 1 - after / before
        raise GuardStopped(
            f"The new space has {count(after, 'image')}, {share:.1%} fewer than readers see now;"
            f" at most {run.options.max_deletions:.1%} may go. {kept} Fill the rest first (another"
            f" prefix or bucket?), or set max_deletions={min(1.0, share + 0.001):.3f}."
        )
