"""Join a run's parts to its one CSV, and read it back as a user would, with pandas."""

import asyncio
from typing import Any

import pandas as pd

from tasks.core.csvfile import join_parts, open_part
from tasks.core.errors import ArtifactError
from tasks.core.run import Run
from tasks.core.spaces import find_space, space_table
from tasks.core.statements import sql
from tasks.core.types import CsvReport
from tasks.core.wording import count

PREVIEW_ROWS = 10
PREVIEW_NUMBERS = 3


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


def file_markdown(report: CsvReport) -> str:
    """Return where the CSV is and how pandas reads it, as markdown."""
    if report.path is None:
        return "Nothing was embedded, so there is no CSV.\n"
    return (
        f"[{report.path.name}]({report.path.as_uri()}): {count(report.rows, 'row')},"
        f" {report.columns:,} columns, no header, on the machine that ran the flow. A browser does"
        f" not open files from a page; copy the path.\n\n```python\nimport pandas as pd\n"
        f"pd.read_csv({str(report.path)!r}, header=None, keep_default_na=False)\n```\n"
    )


async def _fetch_missing_parts(run: Run) -> None:
    """Write the parts of batches that a shard embedded on another disk, from the table."""
    space = await find_space(run)
    async with run.database.connection() as connection:
        for row in await connection.fetch(sql("select_finished_batches"), run.run_id):
            path = run.part(row["batch"])
            if await asyncio.to_thread(path.exists):
                continue
            stored = await connection.fetch(
                sql("select_batch_vectors", table=space_table(space)),
                run.run_id,
                row["batch"],
                run.options.bucket,
            )
            with await open_part(path, space.dimension) as writer:
                for image in stored:
                    writer.append(image["image_id"], image["embedding"].to_numpy())


def read_head(report: CsvReport) -> pd.DataFrame:
    """Return the first rows of the CSV as pandas reads them: column 0 is the image_id."""
    if report.path is None:
        return pd.DataFrame()
    # Without keep_default_na an image called "NA" would lose its name.
    return pd.read_csv(
        report.path, header=None, nrows=PREVIEW_ROWS, dtype={0: str}, keep_default_na=False
    )


def preview(report: CsvReport) -> list[dict[str, Any]]:
    """Return the first rows as a list of dicts for a table: the name and its first numbers."""
    head = read_head(report).iloc[:, : 1 + PREVIEW_NUMBERS]
    head.columns = ["image_id", *(f"v{number}" for number in range(head.shape[1] - 1))]
    head["..."] = f"{report.columns - head.shape[1]} more"
    return [{str(key): value for key, value in row.items()} for row in head.to_dict("records")]
