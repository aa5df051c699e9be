"""Tables of the very form that birdwalk gives its spaces."""

from tasks.core.postgres import Connection
from tasks.core.statements import Identifier, sql


async def create_space_table(connection: Connection, table: Identifier, dimension: int) -> None:
    statement = sql(
        "create_space_table",
        table=table,
        dimension=dimension,
        unit_length=Identifier(f"{table.name}_unit_length"),
    )
    await connection.execute(statement)
