"""Write rows into a space's table: new ones by binary COPY, others by an upsert."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import asyncpg

from tasks.core.database.binary_copy import pack_rows
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.spaces.registry import space_table
from tasks.core.types import Space, Vector

sql = statements_of(__name__)

COLUMNS = ("bucket", "image_id", "embedding", "generation", "content_hash")

Row: TypeAlias = tuple[str, str, Vector, int, str | None]
"""A row of a space's table, in the order of COLUMNS."""


async def load_rows(
    connection: Connection, space: Space, fresh: list[Row], changed: list[Row]
) -> None:
    """Write rows inside the caller's transaction; `fresh` ones are expected not to exist yet."""
    try:
        async with connection.transaction():
            await _copy(connection, space.table, fresh, schema_name="birdwalk")
    except asyncpg.UniqueViolationError:
        changed = fresh + changed
    if changed:
        await connection.execute(sql("create_stage", dimension=space.dimension))
        await _copy(connection, "stage", changed)
        await connection.execute(sql("upsert_stage", table=space_table(space)))


async def _copy(connection: Connection, table: str, rows: Sequence[Row], **where: Any) -> None:
    await connection.copy_to_table(
        table, source=pack_rows(rows), columns=COLUMNS, format="binary", **where
    )
