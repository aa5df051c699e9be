"""Remove what nobody needs any more: vectors without an image, and the files of old runs."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from tasks.core.database.connections import without_nested_loops
from tasks.core.database.statements import affected_rows, statements_of
from tasks.core.runs.run import Run, RunIdentity, run_directory
from tasks.core.runs.space_lock import require_running
from tasks.core.settings import Settings
from tasks.core.spaces.registry import count_write

sql = statements_of(__name__)


async def prune_contents(run: Run) -> int:
    """Remove the vectors whose content no image of the index has had for a while; return how many.

    The setting unused_days says how long they stay, so that a restored object costs nothing.

    Raises:
        DatabaseError: Postgres did not do it; nothing was removed.
    """
    space, days = run.space, run.settings.unused_days
    async with run.database.transaction() as connection:
        await require_running(connection, run.run_id)
        async with without_nested_loops(connection):
            await connection.execute(sql("delete_used_again", images=space.images), space.space_id)
            await connection.execute(sql("insert_unused", **space.tables), space.space_id)
        status = await connection.execute(
            sql("delete_unused_vectors", vectors=space.vectors), space.space_id, days
        )
        removed = affected_rows(status)
        if removed:
            await count_write(connection, space)
        await connection.execute(
            sql("delete_unused_refusals", images=space.images), space.space_id, days
        )
    return removed


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The directory of a run that is over, and whether a run of its space may use its parts."""

    directory: Path
    waits: bool


async def prune_files(run: Run) -> int:
    """Remove the directories of the index's runs but for the last ones; return how many.

    The settings say how many stay. So do those whose parts wait for a run of their space, and the
    one that `latest` leads to. What is not the directory of a run of this index in this database,
    or of one that is under way, is not looked at.

    Raises:
        DatabaseError: Postgres cannot be asked whose the directories are.
    """
    async with run.database.connection() as connection:
        rows = await connection.fetch(sql("select_earlier_runs"), run.options.index, run.run_id)
    earlier = [
        EarlierRun(
            run_directory(run.settings, RunIdentity(row["run_id"], row["run_key"])), row["waits"]
        )
        for row in rows
    ]
    return await asyncio.to_thread(_prune_files, earlier, run.settings)


def _prune_files(earlier: list[EarlierRun], settings: Settings) -> int:
    latest = (settings.data_directory / "runs" / "latest").resolve()
    kept = settings.runs_kept - 1  # and the run that prunes
    removed = 0
    found = [one for one in earlier if one.directory.is_dir() and not one.directory.is_symlink()]
    for place, one in enumerate(found):
        parts = one.directory / "parts"
        if one.waits and parts.exists():
            continue
        # A worker's, on another disk than its run's: the run has joined them to its CSV.
        shutil.rmtree(parts, ignore_errors=True)
        if place < kept or one.directory.resolve() == latest:
            continue
        shutil.rmtree(one.directory, ignore_errors=True)
        removed += not one.directory.exists()
    return removed
