"""Tasks that write what was embedded: into Postgres, and as files and pages for people."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.logging import get_run_logger

from tasks.core.embedding import outcomes
from tasks.core.loading import build_index as building
from tasks.core.loading import insert_batch as inserting
from tasks.core.loading import reuse_vectors as reusing
from tasks.core.loading import write_csv as csv_writing
from tasks.core.reports import csv_file
from tasks.core.reports import outcomes as outcome_pages
from tasks.core.runs.run import current_run
from tasks.core.text import count
from tasks.core.types import (
    Batch,
    BatchReport,
    CsvReport,
    IndexReport,
    RefusalReport,
    RemovalReport,
    ReuseReport,
    SyncPlan,
)
from tasks.names import insert_name, reuse_name
from tasks.retrying import DURABLE


@task(task_run_name=insert_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def insert_batch(report: BatchReport, batch: Batch) -> BatchReport:  # noqa: ARG001 - name
    """Write one batch's vectors and its bookkeeping in one transaction."""
    return await inserting.insert_batch(current_run(), report)


@task(task_run_name=reuse_name, **DURABLE)
async def reuse_vectors(plan: SyncPlan, reports: Sequence[BatchReport]) -> ReuseReport:  # noqa: ARG001 - edge
    """Give moved, copied and rewritten images the vector of their content, without a call."""
    report = await reusing.reuse_vectors(current_run(), plan)
    get_run_logger().info(
        "Reused known vectors: for images that were rewritten %d, moved or copied %d.",
        report.touched,
        report.copied,
    )
    return report


@task(task_run_name="remove {plan.gone:,} gone", **DURABLE)
async def remove_gone(plan: SyncPlan, refused: RefusalReport) -> RemovalReport:  # noqa: ARG001 - edge
    """Remove the rows of images that left the bucket, under the deletion guard."""
    report = await reusing.remove_gone(current_run(), plan)
    get_run_logger().info(
        "Removed images: gone %d, with a new version that was refused %d.",
        report.gone,
        report.stale,
    )
    return report


@task(task_run_name="build index", **DURABLE)
async def build_index(removal: RemovalReport) -> IndexReport:  # noqa: ARG001 - edge
    """Build the HNSW index where it pays, and ANALYZE."""
    report = await building.build_index(current_run())
    get_run_logger().info("HNSW index %s.", report.reason)
    return report


@task(task_run_name="write CSV", **DURABLE)
async def write_csv(reports: Sequence[BatchReport]) -> CsvReport:  # noqa: ARG001 - edge
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


@task(task_run_name="report refusals", **DURABLE)
async def report_refusals(reused: ReuseReport) -> RefusalReport:  # noqa: ARG001 - edge
    """Show what was refused or is left, by reason; fail above max_refusals or max_pending."""
    run = current_run()
    groups = await outcomes.list_refusals(run)
    if groups:
        refused = sum(group.images for group in groups)
        await acreate_markdown_artifact(
            key="refusals",
            markdown=outcome_pages.refusals_markdown(groups),
            description=f"{count(refused, 'image')} the model will not accept, not asked again.",
        )
    left = await outcomes.list_pending(run)
    if left:
        images = sum(group.images for group in left)
        await acreate_markdown_artifact(
            key="pending",
            markdown=outcome_pages.pending_markdown(left),
            description=f"Images that got no vector in their time: {images:,}."
            " The next run asks for them again.",
        )
    outcomes.refuse_too_many(run, groups)
    outcomes.refuse_too_many_pending(run, left)
    return RefusalReport(sum(group.images for group in groups), sum(group.images for group in left))
