"""Tasks that write what was embedded: into Postgres, and as files and pages for people."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.logging import get_run_logger

from tasks.core.loading import build_index as building
from tasks.core.loading import insert_batch as inserting
from tasks.core.loading import write_csv as csv_writing
from tasks.core.reports import csv_file
from tasks.core.runs.run import current_run
from tasks.core.text import count
from tasks.core.types import Batch, Counts, CsvReport, IndexReport
from tasks.names import insert_name
from tasks.retrying import DURABLE


@task(task_run_name=insert_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def insert_batch(batch: Batch, counts: Counts) -> Counts:
    """Write one batch's vectors and its bookkeeping in one transaction."""
    return await inserting.insert_batch(current_run(), batch.number, counts)


@task(task_run_name="write CSV", **DURABLE)
async def write_csv() -> CsvReport:
    """Join the batches' parts to one CSV, and show its first rows."""
    report = await csv_writing.write_csv(current_run())
    if report.path is None:
        get_run_logger().info("Nothing was embedded, so there is no CSV.")
        return report
    shape = f"{count(report.rows, 'row')} x {report.columns:,} columns"
    await acreate_table_artifact(
        key="embeddings-csv",
        table=csv_file.preview(report),
        description=f"The first of {shape}: the image_id, then its vector. {report.path}",
    )
    await acreate_markdown_artifact(
        key="embeddings-csv-file",
        markdown=csv_file.file_markdown(report),
        description=f"{shape}, no header.",
    )
    return report


@task(task_run_name="build index", **DURABLE)
async def build_index() -> IndexReport:
    """Build the HNSW index where it pays, and VACUUM what was written."""
    report = await building.build_index(current_run())
    get_run_logger().info("HNSW index %s.", report.reason)
    return report
