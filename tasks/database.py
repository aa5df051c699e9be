"""Tasks that change Postgres."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from tasks.core import hnsw, loading, plan, planreport, reconcile, spaces
from tasks.core.run import current_run
from tasks.core.types import (
    Batch,
    BatchReport,
    IndexReport,
    Listing,
    RefusalReport,
    RemovalReport,
    ReuseReport,
    Space,
    SyncPlan,
    Verdict,
)
from tasks.core.wording import count, dollars
from tasks.names import insert_name, plan_name, publish_name, reuse_name
from tasks.retrying import DURABLE


@task(task_run_name="create table of {index}, {dimension} dimensions", **DURABLE)
async def create_table(listing: Listing, index: str, dimension: int) -> Space:  # noqa: ARG001 - name and edge
    """Make the extension, the registry row and the table of the space, where missing."""
    return await spaces.create_table(current_run())


@task(task_run_name=plan_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def plan_sync(listing: Listing, space: Space) -> SyncPlan:  # noqa: ARG001 - name and edge
    """Compare the listing with the table, show what would be done, and let the guards judge."""
    run = current_run()
    made = await plan.plan_sync(run)
    calls, price = count(made.calls, "call"), dollars(made.price)
    get_run_logger().info(
        "%d unchanged; %s: %s, %s, %.0f s at quota.",
        made.unchanged,
        ", ".join(f"{change.images} {change.kind}" for change in made.changes),
        calls,
        price,
        made.seconds_at_quota,
    )
    await acreate_markdown_artifact(
        key="plan",
        markdown=planreport.plan_markdown(made, run.options),
        description=f"{calls}, {price}.",
    )
    plan.refuse_unguarded(made)
    return made


@task(task_run_name=insert_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def insert_batch(report: BatchReport, batch: Batch) -> BatchReport:  # noqa: ARG001 - name
    """Write one batch's vectors and its bookkeeping in one transaction."""
    return await loading.insert_batch(current_run(), report)


@task(task_run_name=reuse_name, **DURABLE)
async def reuse_vectors(plan: SyncPlan, reports: Sequence[BatchReport]) -> ReuseReport:  # noqa: ARG001 - edge
    """Give moved, copied and rewritten images the vector of their content, without a call."""
    report = await reconcile.reuse_vectors(current_run(), plan)
    get_run_logger().info(
        "Reused known vectors: for images that were rewritten %d, moved or copied %d.",
        report.touched,
        report.copied,
    )
    return report


@task(task_run_name="remove {plan.gone:,} gone", **DURABLE)
async def remove_gone(plan: SyncPlan, refused: RefusalReport) -> RemovalReport:  # noqa: ARG001 - edge
    """Remove the rows of images that left the bucket, under the deletion guard."""
    report = await reconcile.remove_gone(current_run(), plan)
    get_run_logger().info(
        "Removed images: gone %d, with a new version that was refused %d.",
        report.gone,
        report.stale,
    )
    return report


@task(task_run_name="build index", **DURABLE)
async def build_index(removal: RemovalReport) -> IndexReport:  # noqa: ARG001 - edge
    """Build the HNSW index where it pays, and ANALYZE."""
    report = await hnsw.build_index(current_run())
    get_run_logger().info("HNSW index %s.", report.reason)
    return report


@task(task_run_name=publish_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def publish(verdict: Verdict, index: str) -> Space:
    """Point the index's view at the verified space."""
    space = await spaces.publish(current_run())
    get_run_logger().info(
        "%s shows %s: %s of %s.", index, space.table, count(verdict.rows, "row"), space.model
    )
    return space
