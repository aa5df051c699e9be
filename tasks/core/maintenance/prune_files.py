"""Remove the files of runs that nobody needs any more: a schedule would fill the disk with them.

The tables need no pruning: a plan deletes the work lists of earlier runs, and what stays of a run
is its row and one row a batch, some 300.
"""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from tasks.core.csv_parts import open_part
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.runs.accounting import count_part, parts_in
from tasks.core.runs.run import Run, RunIdentity, run_directory
from tasks.core.settings import Settings
from tasks.core.types import Space

sql = statements_of(__name__)
runs_sql = statements_of("tasks.core.runs.runs")


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The directory of a run that is over, and whether a run of its space may use its parts."""

    directory: Path
    completed: bool
    has_space: bool
    has_work: bool

    @property
    def waits(self) -> bool:
        """Whether it holds what was paid for and is in no table yet.

        Without its work list nobody knows which versions its parts are of: so it is on the disk of
        a shard, where no run found them.
        """
        wanted = self.has_space and self.has_work and not self.completed
        return wanted and (self.directory / "parts").exists()


async def prune_runs(run: Run) -> int:
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
            run_directory(run.settings, RunIdentity(row["run_id"], row["run_key"])),
            row["completed"],
            row["has_space"],
            row["has_work"],
        )
        for row in rows
    ]
    return await asyncio.to_thread(_prune, earlier, run.settings)


def _prune(earlier: list[EarlierRun], settings: Settings) -> int:
    latest = (settings.data_directory / "runs" / "latest").resolve()
    kept = settings.runs_kept - 1  # and the run that prunes
    removed = 0
    found = [one for one in earlier if one.directory.is_dir() and not one.directory.is_symlink()]
    for place, one in enumerate(found):
        if one.completed:
            # Left on the disk of a shard: another machine's run has joined them to its CSV.
            shutil.rmtree(one.directory / "parts", ignore_errors=True)
        if place < kept or one.waits or one.directory.resolve() == latest:
            continue
        shutil.rmtree(one.directory, ignore_errors=True)
        removed += not one.directory.exists()
    return removed


async def remove_waiting_parts(connection: Connection, settings: Settings, space: Space) -> None:
    """Remove the parts that dead runs left for a space; what they had paid for is counted first.

    Raises:
        PartInUse: a process of a dead run still writes.
    """
    theirs = (space.model, space.dimension, space.preprocessing)
    for row in await connection.fetch(runs_sql("select_dead_runs"), space.index, 0):
        if (row["model"], row["dimension"], row["preprocessing"]) == theirs:
            identity = RunIdentity(row["run_id"], row["run_key"])
            parts = run_directory(settings, identity) / "parts"
            for part in parts_in(parts):
                with await open_part(part, row["dimension"]):
                    async with connection.transaction():
                        await count_part(connection, row, part)
            await asyncio.to_thread(shutil.rmtree, parts, ignore_errors=True)
