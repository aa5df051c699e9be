"""Make a searchable pgvector index of a bucket's images: `python -m flows.embed_images --help`."""

from typing import Annotated, Literal

from prefect import flow, runtime
from prefect.utilities.urls import url_for
from pydantic import Field

from flows.command_line import run_flow_from_command_line
from flows.console import SyncOutcome, show_sync
from tasks.artifacts import write_csv
from tasks.core.concurrency import for_each
from tasks.core.run import SyncOptions
from tasks.core.summary import summarise
from tasks.core.types import Batch, BatchReport
from tasks.database import build_index, create_table, insert_batch, plan_sync, publish
from tasks.embeddings import embed_batch
from tasks.images import list_images
from tasks.runs import watched_run
from tasks.verification import verify

BATCHES_IN_FLIGHT = 3
"""Enough that the tail of one batch does not leave the quota idle."""


@flow(
    name="embed-images",
    flow_run_name="embed gs://{bucket}/{prefix} into {index}",
    description="Makes a searchable pgvector index of a bucket's images.",
)
async def embed_images(  # noqa: PLR0913 - each parameter is a field of the form in Prefect's UI
    *,
    bucket: Annotated[str, Field(min_length=1, max_length=222)],
    prefix: Annotated[str, Field(max_length=1024)] = "",
    index: Annotated[str, Field(min_length=1, max_length=63)] = "image_embeddings",
    model: Literal["multimodalembedding@001"] = "multimodalembedding@001",
    dimension: Literal[128, 256, 512, 1408] = 128,
    limit: Annotated[int, Field(ge=1)] | None = None,
    query: Annotated[str, Field(min_length=1, max_length=1024)] | None = None,
    neighbours: Annotated[int, Field(ge=1, le=100)] = 5,
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] = 600,
    batch_size: Annotated[int, Field(ge=1, le=5000)] | None = None,
) -> SyncOutcome:
    """List a bucket's images, embed those that are new, load them, prove it, and publish.

    Args:
        bucket: Cloud Storage bucket, without gs://.
        prefix: Only objects whose name begins with this.
        index: Name of the view that readers query.
        model: Embedding model.
        dimension: Numbers in a vector; more tell images apart better and take more room.
        limit: Stop after this many images, for a try-out.
        query: Image to show the nearest images of; by default the first.
        neighbours: How many nearest images to show.
        requests_per_minute: Your quota of the model; calls are paced to it.
        batch_size: Images in one task; by default chosen from the quota and the bucket.
    """
    options = SyncOptions(
        bucket=bucket,
        prefix=prefix,
        index=index,
        model=model,
        dimension=dimension,
        limit=limit,
        query=query,
        neighbours=neighbours,
        requests_per_minute=requests_per_minute,
        batch_size=batch_size,
    )
    async with watched_run(options) as run:
        listing = await list_images(bucket, prefix)
        space = await create_table(listing, index, dimension)
        plan = await plan_sync(listing, space)

        async def embed_and_insert(batch: Batch) -> BatchReport:
            return await insert_batch(await embed_batch(plan, batch))

        reports = await for_each(plan.batches, embed_and_insert, BATCHES_IN_FLIGHT)
        csv = await write_csv(reports)
        built = await build_index(reports)
        verdict = await verify(built)
        await publish(verdict, index)
        return SyncOutcome(
            await summarise(run),
            verdict,
            csv,
            run.contact_sheet,
            url_for("flow-run", runtime.flow_run.id),
        )


if __name__ == "__main__":
    run_flow_from_command_line(embed_images, show_sync)
