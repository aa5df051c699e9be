"""Make the extension, the registry row and the table of a run's space, where missing."""

from tasks.core.database.statements import Identifier, statements_of
from tasks.core.runs.run import Run
from tasks.core.runs.space import space_key
from tasks.core.spaces.registry import read_space, space_table
from tasks.core.spaces.view import refuse_a_taken_name, refuse_anothers_view
from tasks.core.types import Space

registry_sql = statements_of("tasks.core.spaces.registry")


async def create_table(run: Run) -> Space:
    """Make the extension, the space's registry row and its table where they are missing.

    Raises:
        ExtensionMissing: the server has no pgvector, or one that is too old.
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: its view would have to be replaced, and is another role's.
    """
    with run.timed("create_table"):
        await run.database.ensure_extension()
        async with run.database.transaction() as connection:
            await refuse_a_taken_name(connection, run.options.index)
            space = read_space(
                await connection.fetchrow(registry_sql("insert_space"), *space_key(run))
            )
            if space.status != "active":
                # Before anything is paid: the view will be another one.
                await refuse_anothers_view(connection, space.index)
            table = space_table(space)
            await connection.execute(
                registry_sql(
                    "create_space_table",
                    table=table,
                    dimension=space.dimension,
                    unit_length=Identifier(f"{space.table}_unit_length"),
                )
            )
            await connection.execute(registry_sql("set_parallel_workers", table=table))
    return space
