"""Load what dead runs had paid for: their CSV parts, where the bucket still has that version.

A part names images only; the dead run's work list in Postgres says which version each row is of.
What it had paid for is counted for the dead run, not for the one that loads it.
"""

from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from tasks.core.csv_parts import open_part, read_part
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.runs.accounting import batch_of, count_part, parts_in
from tasks.core.runs.run import Run, RunIdentity, run_directory
from tasks.core.spaces.registry import space_table
from tasks.core.spaces.rows import Row, load_rows
from tasks.core.types import Space

sql = statements_of(__name__)
runs_sql = statements_of("tasks.core.runs.runs")


async def recover_parts(run: Run, space: Space) -> tuple[int, list[int]]:
    """Load the leftover parts of earlier runs of this index, as far as they are of this space.

    Where only a plan was asked for, they are counted, and stay. Each part is loaded in a
    transaction of its own, once no process writes it any more. A part of another machine's disk is
    not found, and its images are paid for again.

    Raises:
        PartInUse: a process of a dead run still writes.

    Returns:
        The rows loaded, and the runs whose parts must wait for another run: they are of another
        space or bucket, or this run's listing covers less of the bucket than theirs did.
    """
    options = run.options
    async with run.database.connection() as connection:
        dead_runs = await connection.fetch(runs_sql("select_dead_runs"), options.index, run.run_id)
    ours = (options.bucket, options.model, options.dimension, options.preprocessing)
    recovered, waiting = 0, []
    for row in dead_runs:
        parts = run_directory(run.settings, RunIdentity(row["run_id"], row["run_key"])) / "parts"
        if not parts.exists():
            continue
        space_of_run = (row["bucket"], row["model"], row["dimension"], row["preprocessing"])
        covered = options.limit is None and row["prefix"].startswith(options.prefix)
        for part in parts_in(parts):
            with await _hold(run, row, part):
                async with run.database.transaction() as connection:
                    await count_part(connection, row, part)
                if space_of_run != ours:
                    continue
                recovered += await _recover_part(run, space, row["run_id"], part)
                if covered and not options.plan_only:
                    part.unlink(missing_ok=True)
        if space_of_run == ours and covered and not options.plan_only:
            with suppress(OSError):  # something was put there meanwhile: it waits too
                parts.rmdir()
        if parts.exists():
            waiting.append(row["run_id"])
    return recovered, waiting


async def _hold(run: Run, dead_run: Any, part: Path) -> AbstractContextManager[object]:
    """Keep a part from whoever may still write it; a plan, which only counts, waits for nobody."""
    if run.options.plan_only:
        return nullcontext()
    return await open_part(part, dead_run["dimension"])


async def _recover_part(run: Run, space: Space, dead_run: int, part: Path) -> int:
    vectors = read_part(part, space.dimension)
    async with run.database.transaction() as connection:
        versions = await connection.fetch(
            sql("select_recoverable", table=space_table(space)),
            dead_run,
            batch_of(part),
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
        await connection.execute(runs_sql("update_run_changes"), run.run_id, len(rows), 0, 0)
    return len(rows)


async def expect_nothing(run: Run) -> None:
    """Begin to count, also where an earlier attempt at the plan had begun."""
    async with run.database.transaction() as connection:
        await connection.execute(sql("drop_expected"))
        await connection.execute(sql("create_recovered"))


async def expect_rows(connection: Connection, rows: list[Row]) -> int:
    """Remember rows that a run would load, and return how many it did not have yet."""
    names, generations = [row[1] for row in rows], [row[3] for row in rows]
    hashes = [row[4] for row in rows]
    status = await connection.execute(sql("insert_recovered"), names, generations, hashes)
    return int(status.rsplit(" ", 1)[1])


async def leave_out_expected(connection: Connection) -> None:
    """Take out of the diff what would be loaded, and what has its content: no call for either."""
    await connection.execute(sql("delete_recovered"))
    await connection.execute(sql("mark_recovered_content"))
