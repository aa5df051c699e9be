"""Join a run's parts to its one CSV, and read it back as a user would, with pandas."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.csv_parts import copy_rows, open_part
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import ArtifactError
from tasks.core.files import replacing
from tasks.core.runs.run import Run
from tasks.core.types import CsvReport

if TYPE_CHECKING:
    import pandas as pd

sql = statements_of(__name__)
batches = statements_of("tasks.core.runs.batches")

PREVIEW_ROWS = 10


async def write_csv(run: Run) -> CsvReport:
    """Write the CSV of what the run embedded: a row a content, under the name it was asked by.

    Rows are in the order of batches, and of names within each; without any there is no file.

    Raises:
        ArtifactError: the disk is full, or the file does not read back with the right shape.
    """
    dimension = run.options.dimension
    with run.timed("write_csv"):
        async with run.database.connection() as connection:
            durable = await connection.fetch(batches("select_durable_batches"), run.run_id)
            if not durable:
                return CsvReport(None, 0, 0)
            with replacing(run.csv) as made:
                rows = await _join(connection, run, [row["batch"] for row in durable], made)
        if rows == 0:
            run.csv.unlink(missing_ok=True)
            return CsvReport(None, 0, 0)
        columns = read_head(CsvReport(run.csv, rows, 0)).shape[1]
    if columns != 1 + dimension:
        raise ArtifactError(
            f"{run.csv} reads back with {columns} columns; {1 + dimension} expected."
        )
    return CsvReport(run.csv, rows, columns)


async def _join(connection: Connection, run: Run, durable: list[int], target: Path) -> int:
    rows = 0
    with target.open("wb") as file:
        for batch in durable:
            part = await _find_part(connection, run, batch)
            names = await connection.fetch(
                sql("select_embedded", vectors=run.space.vectors), run.run_id, batch
            )
            wanted = {row["image_id"] for row in names}
            rows += await asyncio.to_thread(copy_rows, part, wanted, file, run.space.dimension)
    return rows


async def _find_part(connection: Connection, run: Run, batch: int) -> Path:
    """Return a batch's part; one that is on another machine's disk is written from the table."""
    path = run.part(batch)
    if not await asyncio.to_thread(path.exists):
        stored = await connection.fetch(
            sql("select_embedded_vectors", vectors=run.space.vectors), run.run_id, batch
        )
        with await open_part(path, run.space.dimension) as writer:
            for row in stored:
                writer.append(row["image_id"], row["embedding"].to_numpy())
    return path


def read_head(report: CsvReport) -> "pd.DataFrame":
    """Return the first rows of the CSV as pandas reads them: column 0 is the image_id."""
    # It takes half a second to import: a run without calls does without it.
    import pandas as pd

    if report.path is None:
        return pd.DataFrame()
    # Without keep_default_na an image called "NA" would lose its name.
    return pd.read_csv(
        report.path, header=None, nrows=PREVIEW_ROWS, dtype={0: str}, keep_default_na=False
    )
