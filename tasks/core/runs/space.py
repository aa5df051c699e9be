"""The space that a run fills."""

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseError
from tasks.core.runs.run import Run
from tasks.core.spaces.registry import read_space, space_table
from tasks.core.types import Space

registry_sql = statements_of("tasks.core.spaces.registry")


def space_key(run: Run) -> tuple[str, str, int, str]:
    """Return what the registry knows the run's space by."""
    options = run.options
    return options.index, options.model, options.dimension, options.preprocessing


async def find_space(run: Run) -> Space:
    """Return the space that the run fills.

    Raises:
        DatabaseError: create_table has not run, or the registry was emptied since.
    """
    async with run.database.connection() as connection:
        row = await connection.fetchrow(registry_sql("select_space"), *space_key(run))
    if row is None:
        raise DatabaseError(
            f"Index {run.options.index!r} has no space for {run.options.model} with"
            f" {run.options.dimension} dimensions and preprocessing {run.options.preprocessing}."
            f" Run create_table first."
        )
    return read_space(row)


async def count_stored(connection: Connection, run: Run) -> int:
    """Return the rows that the run's space has of the run's part of the bucket."""
    row = await connection.fetchrow(registry_sql("select_space"), *space_key(run))
    if row is None:
        return 0
    statement = registry_sql("count_part", table=space_table(read_space(row)))
    return int(await connection.fetchval(statement, run.options.bucket, run.options.prefix))
