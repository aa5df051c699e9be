"""Load what dead runs had paid for: their CSV parts, where the bucket still has that version.

A part names images only; the dead run's work list in Postgres says which version each row is of.
"""

import shutil
from pathlib import Path

from tasks.core.csvfile import read_part
from tasks.core.loading import Row, load_rows
from tasks.core.options import PREPROCESSING
from tasks.core.run import Run, RunIdentity, run_directory
from tasks.core.spaces import space_table
from tasks.core.statements import sql
from tasks.core.types import Space


async def recover_parts(run: Run, space: Space) -> tuple[int, list[int]]:
    """Load the leftover parts of earlier runs of this index and space.

    Each part is loaded in a transaction of its own. A part of another machine's disk is not
    found, and its images are paid for again.

    Returns:
        The rows loaded, and the runs whose parts must wait, since this run's listing covers less
        of the bucket than theirs did.
    """
    options = run.options
    async with run.database.connection() as connection:
        dead_runs = await connection.fetch(
            sql("select_dead_runs"),
            options.index,
            options.model,
            options.dimension,
            PREPROCESSING,
            run.run_id,
        )
    recovered, waiting = 0, []
    for row in dead_runs:
        parts = run_directory(run.settings, RunIdentity(row["run_id"], row["run_key"])) / "parts"
        if not parts.exists():
            continue
        covered = options.limit is None and row["prefix"].startswith(options.prefix)
        if row["bucket"] != options.bucket or not covered:
            waiting.append(row["run_id"])
            continue
        for part in sorted(parts.glob("part-*.csv")):
            recovered += await _recover_part(run, space, row["run_id"], part)
        shutil.rmtree(parts, ignore_errors=True)
    return recovered, waiting


async def _recover_part(run: Run, space: Space, dead_run: int, part: Path) -> int:
    vectors = read_part(part, space.dimension)
    batch = int(part.stem.removeprefix("part-"))
    async with run.database.transaction() as connection:
        versions = await connection.fetch(sql("select_recoverable"), dead_run, batch, run.run_id)
        rows: list[Row] = [
            (
                run.options.bucket,
                row["image_id"],
                vectors[row["image_id"]],
                row["generation"],
                row["content_hash"],
            )
            for row in versions
            if row["image_id"] in vectors
        ]
        already = await connection.fetchval(
            sql("count_stored", table=space_table(space)),
            run.options.bucket,
            [row[1] for row in rows],
            [row[3] for row in rows],
        )
        await load_rows(connection, space, [], rows)
        await connection.execute(sql("update_run_changes"), run.run_id, len(rows) - already, 0, 0)
    return len(rows) - int(already)
