"""Tasks that look at the bucket, and find out what there is to do."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from tasks.core.planning import create_table as tables
from tasks.core.planning import list_images as listing
from tasks.core.planning import plan_sync as planning
from tasks.core.reports import plan as plan_page
from tasks.core.runs.run import current_run
from tasks.core.spaces.registry import Space
from tasks.core.text import count, dollars, printable
from tasks.core.types import Listing, SyncPlan
from tasks.names import listing_name, plan_name
from tasks.retrying import DURABLE


@task(task_run_name=listing_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def list_images(bucket: str, prefix: str) -> Listing:
    """List the bucket's images, metadata only, into Postgres."""
    found = await listing.list_images(current_run())
    get_run_logger().info(
        "gs://%s/%s holds %d images among %d objects; skipped: %s.",
        bucket,
        printable(prefix),
        found.images,
        found.objects,
        ", ".join(f"{count} {why}" for why, count in found.skipped.items()) or "none",
    )
    return found


@task(task_run_name="create table of {index}, {dimension} dimensions", **DURABLE)
async def create_table(index: str, dimension: int) -> Space:  # noqa: ARG001 - in the task's name
    """Make the extension, the registry rows and the tables of index and space, where missing."""
    return await tables.create_table(current_run())


@task(task_run_name=plan_name, **DURABLE)
async def plan_sync() -> SyncPlan:
    """Compare the listing with the index, show what would be done, and let the guards judge."""
    run = current_run()
    made = await planning.plan_sync(run)
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
        markdown=plan_page.plan_markdown(made, run.options),
        description=f"{calls}, {price}.",
    )
    planning.check_guards(made)
    return made
