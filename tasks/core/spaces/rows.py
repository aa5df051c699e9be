"""Write vectors into a space: by binary COPY, one row a content. Figures are in tests/bench."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import asyncpg

from tasks.core.database.binary_copy import pack_rows
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.spaces.registry import Space, count_write
from tasks.core.types import Vector

sql = statements_of(__name__)

COLUMNS = ("content_key", "embedding")

Row: TypeAlias = tuple[str, Vector]
"""A content and its vector, in the order of COLUMNS."""


async def load_vectors(connection: Connection, space: Space, rows: Sequence[Row]) -> None:
    """Write vectors inside the caller's transaction; those of contents that are there are left out.

    A content whose vector is written is refused no longer.
    """
    if not rows:
        return
    try:
        async with connection.transaction():
            await _copy(connection, space.vectors.name, rows, schema_name="birdwalk")
    except asyncpg.UniqueViolationError:
        await connection.execute(sql("create_stage", dimension=space.dimension))
        await _copy(connection, "stage", rows)
        await connection.execute(sql("insert_stage", vectors=space.vectors))
    # Most spaces have none, and to look for the keys of a batch takes a fifth of its COPY.
    if await connection.fetchval(sql("select_has_refusals"), space.space_id):
        keys = [key for key, _ in rows]
        await connection.execute(sql("delete_answered_refusals"), space.space_id, keys)
    await count_write(connection, space)


async def _copy(connection: Connection, table: str, rows: Sequence[Row], **where: Any) -> None:
    await connection.copy_to_table(
        table, source=pack_rows(rows), columns=COLUMNS, format="binary", **where
    )
