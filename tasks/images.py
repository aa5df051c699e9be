"""Tasks that look at the bucket."""

from prefect import task
from prefect.logging import get_run_logger

from tasks.core import listing
from tasks.core.run import current_run
from tasks.core.types import Listing
from tasks.core.wording import printable
from tasks.names import listing_name
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
