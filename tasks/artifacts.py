"""Tasks that leave files and pages for people."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.logging import get_run_logger

from tasks.core import csvreport, pending, refusals
from tasks.core.run import current_run
from tasks.core.types import BatchReport, CsvReport, RefusalReport, ReuseReport
from tasks.core.wording import count
from tasks.retrying import DURABLE


@task(task_run_name="write CSV", **DURABLE)
async def write_csv(reports: Sequence[BatchReport]) -> CsvReport:  # noqa: ARG001 - edge
    """Join the batches' parts to one CSV, and show its first rows."""
    report = await csvreport.write_csv(current_run())
    if report.path is None:
        get_run_logger().info("Nothing was embedded, so there is no CSV.")
        return report
    shape = f"{count(report.rows, 'row')} x {report.columns:,} columns"
    await acreate_table_artifact(
        key="embeddings-csv",
        table=csvreport.preview(report),
        description=f"The first of {shape}: the image_id, then its vector. {report.path}",
    )
    await acreate_markdown_artifact(
        key="embeddings-csv-file",
        markdown=csvreport.file_markdown(report),
        description=f"{shape}, no header.",
    )
    return report


@task(task_run_name="report refusals", **DURABLE)
async def report_refusals(reused: ReuseReport) -> RefusalReport:  # noqa: ARG001 - edge
    """Show what was refused or is left, by reason; fail above max_refusals or max_pending."""
    run = current_run()
    groups = await refusals.list_refusals(run)
    if groups:
        refused = sum(group.images for group in groups)
        await acreate_markdown_artifact(
            key="refusals",
            markdown=refusals.refusals_markdown(groups),
            description=f"{count(refused, 'image')} the model will not accept, not asked again.",
        )
    left = await pending.list_pending(run)
    if left:
        images = sum(group.images for group in left)
        await acreate_markdown_artifact(
            key="pending",
            markdown=pending.pending_markdown(left),
            description=f"Images that got no vector in their time: {images:,}."
            " The next run asks for them again.",
        )
    refusals.refuse_too_many(run, groups)
    pending.refuse_too_many_pending(run, left)
    return RefusalReport(sum(group.images for group in groups), sum(group.images for group in left))
