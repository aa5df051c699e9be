"""Join a run's parts to its one CSV, and read it back as a user would, with pandas."""

import asyncio
from typing import TYPE_CHECKING

from tasks.core.csv_parts import join_parts, open_part
from tasks.core.database.statements import statements_of
from tasks.core.errors import ArtifactError
from tasks.core.runs.run import Run
from tasks.core.runs.space import find_space
from tasks.core.spaces.registry import space_table
from tasks.core.types import CsvReport

if TYPE_CHECKING:
    import pandas as pd

batches_sql = statements_of("tasks.core.runs.batches")

PREVIEW_ROWS = 10


async def write_csv(run: Run) -> CsvReport:
    """Write the CSV of what the run embedded; without any rows there is no file.

    Raises:
        ArtifactError: the disk is full, or the file does not read back with the right shape.
    """
    with run.timed("write_csv"):
        await _fetch_missing_parts(run)
        parts = sorted(run.part(0).parent.glob("part-*.csv"))
        rows = await asyncio.to_thread(join_parts, parts, run.csv, run.options.dimension)
        if rows == 0:
            run.csv.unlink(missing_ok=True)
            return CsvReport(None, 0, 0)
        columns = read_head(CsvReport(run.csv, rows, 0)).shape[1]
    if columns != 1 + run.options.dimension:
        raise ArtifactError(
            f"{run.csv} reads back with {columns} columns; {1 + run.options.dimension} expected."
        )
    return CsvReport(run.csv, rows, columns)


async def _fetch_missing_parts(run: Run) -> None:
    """Write the parts of batches that a shard embedded on another disk, from the table."""
    space = await find_space(run)
    async with run.database.connection() as connection:
        for row in await connection.fetch(batches_sql("select_finished_batches"), run.run_id):
            path = run.part(row["batch"])
            if await asyncio.to_thread(path.exists):
                continue
            stored = await connection.fetch(
                batches_sql("select_batch_vectors", table=space_table(space)),
                run.run_id,
                row["batch"],
                run.options.bucket,
            )
            with await open_part(path, space.dimension) as writer:
                for image in stored:
                    writer.append(image["image_id"], image["embedding"].to_numpy())


def read_head(report: CsvReport) -> "pd.DataFrame":
    """Return the first rows of the CSV as pandas reads them: column 0 is the image_id."""
    import pandas as pd

    if report.path is None:
        return pd.DataFrame()
    # Without keep_default_na an image called "NA" would lose its name.
    return pd.read_csv(
        report.path, header=None, nrows=PREVIEW_ROWS, dtype={0: str}, keep_default_na=False
    )
