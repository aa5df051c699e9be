"""Tables of the very form that birdwalk gives its spaces."""

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, statements_of

registry_sql = statements_of("tasks.core.spaces.registry")


async def create_space_table(connection: Connection, table: Identifier, dimension: int) -> None:
    statement = registry_sql(
        "create_space_table",
        table=table,
        dimension=dimension,
        unit_length=Identifier(f"{table.name}_unit_length"),
    )
    await connection.execute(statement)
