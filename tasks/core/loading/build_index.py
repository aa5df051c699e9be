"""Build a space's approximate index where it pays."""

from tasks.core.database.statements import statements_of
from tasks.core.runs.run import Run
from tasks.core.runs.space import find_space
from tasks.core.spaces.hnsw import ROWS_THAT_PAY, create_hnsw, drop_unusable
from tasks.core.spaces.registry import space_table
from tasks.core.text import count
from tasks.core.types import IndexReport

hnsw_sql = statements_of("tasks.core.spaces.hnsw")
registry_sql = statements_of("tasks.core.spaces.registry")


async def build_index(run: Run) -> IndexReport:
    """Build the HNSW index where it pays and is missing or unusable; VACUUM and ANALYZE the table.

    Raises:
        DatabaseError: Postgres could not build it; the table keeps its rows.
    """
    with run.timed("build_index"):
        await run.hold.take()
        space = await find_space(run)
        async with run.database.connection() as connection:
            rows = await connection.fetchval(registry_sql("count_rows", table=space_table(space)))
            present = await drop_unusable(connection, space)
            pays = rows >= ROWS_THAT_PAY
            if pays and not present:
                await create_hnsw(connection, run, space, rows)
            await connection.execute(hnsw_sql("vacuum", table=space_table(space)))
        built = pays and not present
        return IndexReport(
            rows=rows,
            built=built,
            present=present or built,
            reason=_reason(rows, present=present, built=built),
        )


def _reason(rows: int, *, present: bool, built: bool) -> str:
    if built:
        return f"built over {count(rows, 'row')}"
    if present:
        return f"kept: it grows with the table ({count(rows, 'row')})"
    return f"not needed: exact search over {count(rows, 'row')} is fast and misses nothing"
