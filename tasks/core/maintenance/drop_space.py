"""Remove a space that is not needed any more, or an index with all its spaces."""

from tasks.core.database.connections import Database, open_database
from tasks.core.database.statements import Identifier, statements_of
from tasks.core.errors import InvalidInput
from tasks.core.maintenance.prune_files import remove_waiting_parts
from tasks.core.maintenance.rollback import held_index, report_space
from tasks.core.runs.index_lock import IndexHold
from tasks.core.settings import Settings
from tasks.core.spaces.drift import SpaceReport
from tasks.core.spaces.registry import read_space, space_table
from tasks.core.spaces.view import refuse_a_taken_name, refuse_anothers_view

registry_sql = statements_of("tasks.core.spaces.registry")
view_sql = statements_of("tasks.core.spaces.view")


async def drop_space(
    database: Database, settings: Settings, index: str, space_id: int
) -> SpaceReport:
    """Delete a space that is not shown, with its vectors, its refusals, and what waits for it.

    Raises:
        InvalidInput: there is no such space, or it is the one that readers see.
        SpaceBusy: a run holds the index.
        PartInUse: a process of a dead run still writes.
    """
    async with held_index(database, index, "birdwalk drop-space"):
        async with database.connection() as connection:
            report = await report_space(connection, index, space_id)
        if report.space.status == "active":
            raise InvalidInput(
                f"Space {space_id} is what index {index!r} shows: it was left alone. Publish"
                " another space first."
            )
        async with database.connection() as connection:
            await remove_waiting_parts(connection, settings, report.space)
        async with database.transaction() as connection:
            await connection.execute(registry_sql("delete_space"), space_id)
            await connection.execute(
                registry_sql("drop_space_table", table=space_table(report.space))
            )
    return report


async def drop_index(settings: Settings, index: str) -> None:
    """Remove an index with all its spaces, vectors and refusals; the runs' history stays.

    Raises:
        SpaceBusy: a run holds it.
        IndexNameTaken: the name belongs to a relation that birdwalk did not make.
        DatabaseError: its view is another role's.
    """
    async with open_database(settings) as database:
        hold = IndexHold(database, index, "birdwalk drop_index")
        await hold.take()
        try:
            async with database.transaction() as connection:
                await refuse_a_taken_name(connection, index)
                await refuse_anothers_view(connection, index)
                await connection.execute(view_sql("drop_view", index=Identifier(index)))
                for row in await connection.fetch(registry_sql("delete_spaces"), index):
                    table = space_table(read_space(row))
                    await connection.execute(registry_sql("drop_space_table", table=table))
        finally:
            await hold.release()
