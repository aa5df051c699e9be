"""Count what a run would recover, where it may not load it: it was asked for a plan only."""

from tasks.core.loading import Row
from tasks.core.postgres import Connection
from tasks.core.run import Run
from tasks.core.statements import sql


async def expect_nothing(run: Run) -> None:
    """Begin to count, also where an earlier attempt at the plan had begun."""
    async with run.database.transaction() as connection:
        await connection.execute(sql("drop_expected"))
        await connection.execute(sql("create_recovered"))


async def expect_rows(connection: Connection, rows: list[Row]) -> int:
    """Remember rows that a run would load, and return how many it did not have yet."""
    names, generations = [row[1] for row in rows], [row[3] for row in rows]
    hashes = [row[4] for row in rows]
    status = await connection.execute(sql("insert_recovered"), names, generations, hashes)
    return int(status.rsplit(" ", 1)[1])


async def leave_out_expected(connection: Connection) -> None:
    """Take out of the diff what would be loaded, and what has its content: no call for either."""
    await connection.execute(sql("delete_recovered"))
    await connection.execute(sql("mark_recovered_content"))
