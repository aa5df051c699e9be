"""The embedding spaces of an index, each with a table of its own; one of them is published."""

from typing import Any

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, statements_of
from tasks.core.errors import EmptyIndex, UnknownIndex
from tasks.core.types import Space

sql = statements_of(__name__)


def space_table(space: Space) -> Identifier:
    """Return the table that holds a space's vectors."""
    return Identifier(space.table, "birdwalk")


def read_space(row: Any) -> Space:
    """Return the space of a registry row."""
    return Space(
        space_id=row["space_id"],
        index=row["index_name"],
        model=row["model"],
        dimension=row["dimension"],
        preprocessing=row["preprocessing"],
        table=f"space_{row['space_id']}",
        status=row["status"],
        ef_search=row["ef_search"],
    )


async def find_active_space(connection: Connection, index: str) -> Space:
    """Return the space of an index that readers see.

    Raises:
        UnknownIndex: there is no such index, or nothing of it is published.
    """
    row = await connection.fetchrow(sql("select_shown_space"), index)
    if row is None:
        begun = await connection.fetchval(sql("select_is_begun"), index)
        raise UnknownIndex(
            f"Index {index!r} {'has not been published yet' if begun else 'does not exist'}."
            " embed-images makes it from a bucket: check the name, or let that run to its end."
        )
    return read_space(row)


async def refuse_empty(connection: Connection, space: Space) -> None:
    """Let a space with images pass.

    Raises:
        EmptyIndex: it has none.
    """
    if not await connection.fetchval(sql("select_has_rows", table=space_table(space))):
        raise EmptyIndex(
            f"Index {space.index!r} holds no image. Run embed-images on a bucket with some."
        )
