"""Tasks that change Postgres."""

from collections.abc import Sequence

from prefect import task
from prefect.logging import get_run_logger

from tasks.core import hnsw, loading, plan, spaces
from tasks.core.run import current_run
from tasks.core.types import (
    BatchReport,
    IndexReport,
    Listing,
    Space,
    SyncPlan,
    Verdict,
)
from tasks.retrying import DURABLE


@task(task_run_name="create table of {index}, {dimension} dimensions", **DURABLE)
async def create_table(listing: Listing, index: str, dimension: int) -> Space:  # noqa: ARG001 - name and edge
    """Make the extension, the registry row and the table of the space, where missing."""
    return await spaces.create_table(current_run())


@task(task_run_name="plan sync of {listing.images} images", **DURABLE)
async def plan_sync(listing: Listing, space: Space) -> SyncPlan:  # noqa: ARG001 - name and edge
    """Compare the listing with the table, and cut what is missing into batches."""
    made = await plan.plan_sync(current_run())
    get_run_logger().info(
        "%d new, %d changed, %d unchanged, %d refused before: %d calls, $%.4f, %.0f s at quota.",
        made.new,
        made.changed,
        made.unchanged,
        made.refused_before,
        made.calls,
        made.price,
        made.seconds_at_quota,
    )
    return made


@task(task_run_name="insert {report.embedded} rows of batch {report.batch}", **DURABLE)
async def insert_batch(report: BatchReport) -> BatchReport:
    """Write one batch's vectors and its bookkeeping in one transaction."""
    return await loading.insert_batch(current_run(), report)


@task(task_run_name="build index", **DURABLE)
async def build_index(reports: Sequence[BatchReport]) -> IndexReport:  # noqa: ARG001 - edge
    """Build the HNSW index where it pays, and ANALYZE."""
    report = await hnsw.build_index(current_run())
    get_run_logger().info("HNSW index %s.", report.reason)
    return report


@task(task_run_name="publish as {index}", **DURABLE)
async def publish(verdict: Verdict, index: str) -> Space:
    """Point the index's view at the verified space."""
    space = await spaces.publish(current_run())
    get_run_logger().info(
        "%s shows %s: %d rows of %s.", index, space.table, verdict.rows, space.model
    )
    return space
