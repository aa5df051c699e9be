"""Build a space's approximate index where it pays."""

from tasks.core.runs.run import Run
from tasks.core.spaces.hnsw import ROWS_THAT_PAY, create_hnsw, drop_unusable, vacuum_vectors
from tasks.core.spaces.registry import count_rows
from tasks.core.text import count
from tasks.core.types import IndexReport


async def build_index(run: Run) -> IndexReport:
    """Build the HNSW index where it pays and is missing or unusable; VACUUM what was written.

    Raises:
        DatabaseError: Postgres could not build it; the table keeps its vectors.
    """
    space = run.space
    with run.timed("build_index"):
        async with run.database.connection() as connection:
            rows = await count_rows(connection, space)
            present = await drop_unusable(connection, space)
            pays = rows >= ROWS_THAT_PAY
            if pays and not present:
                await create_hnsw(connection, space, run.settings.index_build_memory_mb)
                run.index_built = True
            if run.vectors_written or (run.plan is not None and run.plan.calls):
                await vacuum_vectors(connection, space)
        built = pays and not present
        return IndexReport(
            rows=rows,
            built=built,
            present=present or built,
            reason=_reason(rows, present=present, built=built),
        )


def _reason(rows: int, *, present: bool, built: bool) -> str:
    if built:
        return f"built over {count(rows, 'vector')}"
    if present:
        return f"kept: it grows with the table ({count(rows, 'vector')})"
    return f"not needed: exact search over {count(rows, 'vector')} is fast and misses nothing"
