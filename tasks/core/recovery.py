"""Load what dead runs had paid for: their CSV parts, where the bucket still has that version.

A part names images only; the dead run's work list in Postgres says which version each row is of.
What it had paid for is counted for the dead run, not for the one that loads it.
"""

import shutil
from pathlib import Path
from typing import Any

from tasks.core.csvfile import read_part
from tasks.core.expected import expect_rows
from tasks.core.ledger import Tally, count_unfinished
from tasks.core.loading import Row, load_rows
from tasks.core.run import Run, RunIdentity, run_directory
from tasks.core.spaces import space_table
from tasks.core.statements import sql
from tasks.core.types import Space


async def recover_parts(run: Run, space: Space) -> tuple[int, list[int]]:
    """Load the leftover parts of earlier runs of this index, as far as they are of this space.

    Where only a plan was asked for, they are counted, and stay. Each part is loaded in a
    transaction of its own. A part of another machine's disk is not
    found, and its images are paid for again.

    Returns:
        The rows loaded, and the runs whose parts must wait for another run: they are of another
        space or bucket, or this run's listing covers less of the bucket than theirs did.
    """
    options = run.options
    async with run.database.connection() as connection:
        dead_runs = await connection.fetch(sql("select_dead_runs"), options.index, run.run_id)
    ours = (options.bucket, options.model, options.dimension, options.preprocessing)
    recovered, waiting = 0, []
    for row in dead_runs:
        parts = run_directory(run.settings, RunIdentity(row["run_id"], row["run_key"])) / "parts"
        if not parts.exists():
            continue
        await _count_paid(run, row, parts)
        if (row["bucket"], row["model"], row["dimension"], row["preprocessing"]) != ours:
            waiting.append(row["run_id"])
            continue
        for part in _parts(parts):
            recovered += await _recover_part(run, space, row["run_id"], part)
        covered = options.limit is None and row["prefix"].startswith(options.prefix)
        if covered and not options.plan_only:
            shutil.rmtree(parts, ignore_errors=True)
        else:
            waiting.append(row["run_id"])
    return recovered, waiting


async def _count_paid(run: Run, dead_run: Any, parts: Path) -> None:
    """Count for a dead run what it paid for and never counted, whoever may use it now."""
    run_id = dead_run["run_id"]
    async with run.database.transaction() as connection:
        counted = {
            row["batch"] for row in await connection.fetch(sql("select_counted_batches"), run_id)
        }
        tallies = {
            batch: Tally.of_rows(len(read_part(part, dead_run["dimension"])))
            for part in _parts(parts)
            if (batch := _batch_of(part)) not in counted
        }
        await count_unfinished(connection, run_id, dead_run["model"], tallies)


def _parts(directory: Path) -> list[Path]:
    return sorted(directory.glob("part-*.csv"))


def _batch_of(part: Path) -> int:
    return int(part.stem.removeprefix("part-"))


async def _recover_part(run: Run, space: Space, dead_run: int, part: Path) -> int:
    vectors = read_part(part, space.dimension)
    async with run.database.transaction() as connection:
        versions = await connection.fetch(
            sql("select_recoverable", table=space_table(space)),
            dead_run,
            _batch_of(part),
            run.run_id,
            run.options.bucket,
        )
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
        if run.options.plan_only:
            return await expect_rows(connection, rows)
        await load_rows(connection, space, [], rows)
        await connection.execute(sql("update_run_changes"), run.run_id, len(rows), 0, 0)
    return len(rows)
