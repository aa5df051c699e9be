"""Plan on the tables as they would be, and change nothing: one transaction that is rolled back.

Nobody else sees the listing, the space and the rows that a plan writes, and a plan that is killed
leaves none of them behind.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasks.core.database.connections import Connection, Database
from tasks.core.database.errors import translated
from tasks.core.errors import DatabaseUnavailable


class Rehearsal(Database):
    """A database whose connections are all one, in a transaction that never commits."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    @asynccontextmanager
    async def _lend(self, *, in_transaction: bool) -> AsyncIterator[Connection]:  # noqa: ARG002 - always in one
        if self._connection.is_closed():
            raise DatabaseUnavailable(
                "The plan lost its connection to Postgres, and with it what it had listed. Nothing"
                " was changed. Run again."
            )
        # A savepoint: what follows an error still finds the transaction alive.
        with translated():
            async with self._connection.transaction():
                yield self._connection

    async def ensure_extension(self) -> str:
        """Create pgvector where it is missing: for good, since others wait for whoever does.

        Raises:
            ExtensionMissing: as Database.ensure_extension.
        """
        version = await self._database.ensure_extension()
        with translated():
            await self._database.adopt(self._connection)
        return version

    async def analyze(self, statement: str) -> None:  # noqa: ARG002 - what it would have analysed
        """Do without statistics: ANALYZE would keep other runs from theirs until the plan ends.

        What misleads the planner without them is a nested loop over a table it thinks is empty.
        """
        async with self.connection() as connection:
            await connection.execute("SET enable_nestloop = off")


@asynccontextmanager
async def rehearse(database: Database) -> AsyncIterator[Rehearsal]:
    """Yield a database that is as this one, and forgets what the block does to it.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
    """
    with translated():
        connection = await database.connect("birdwalk plan")
    try:
        with translated():
            await database.adopt(connection)
            await connection.transaction().start()
        yield Rehearsal(database, connection)
    finally:
        connection.terminate()
