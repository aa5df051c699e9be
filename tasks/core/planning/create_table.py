"""Make what a sync writes to, where it is missing: the extension, and the tables of its space."""

from tasks.core.runs.run import Run
from tasks.core.spaces.registry import Space, create_tables
from tasks.core.spaces.view import require_free_name, require_own_view


async def create_table(run: Run) -> Space:
    """Make the extension, the registry rows of index and space, and their tables.

    A run that only plans leaves none of the rows and tables behind.

    Raises:
        ExtensionMissing: the server has no pgvector, or one that is too old.
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: its view would have to be replaced, and is another role's.
    """
    with run.timed("create_table"):
        await run.database.ensure_extension()
        async with run.writing() as connection:
            await require_free_name(connection, run.options.index)
            # Two first runs at once must not both make the tables.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('birdwalk'))")
            space = await create_tables(connection, run.options.space)
            if space.status != "active":
                # Before anything is paid: the view will be led to another space.
                await require_own_view(connection, space.index)
    run.made_space = space
    return space
