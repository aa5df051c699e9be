"""Make a pgvector index equal to a bucket's images: `python -m flows.embed_images --help`."""

from typing import Annotated

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.utilities.urls import url_for
from pydantic import Field

from flows.terminal.choices import Dimension, ModelName
from flows.terminal.outcomes import SyncOutcome
from tasks.core.concurrency import BATCHES_IN_FLIGHT, for_each
from tasks.core.embedding.work_list import claim_batches
from tasks.core.pictures.preparing import Crop
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.summary import summarise
from tasks.core.types import Batch, Counts
from tasks.embedding import embed_batch, report_outcomes
from tasks.loading import build_index, insert_batch, write_csv
from tasks.planning import create_table, list_images, plan_sync
from tasks.publishing import publish, verify
from tasks.runs import watched_run
from tasks.shards import workers

Share = Annotated[float, Field(ge=0, le=1)]


@flow(
    name="embed-images",
    flow_run_name="embed gs://{bucket}/{prefix} into {index}",
    description="Makes a searchable pgvector index equal to a bucket's images.",
)
async def embed_images(  # noqa: PLR0913 - each parameter is a field of the form in Prefect's UI
    *,
    bucket: Annotated[str, Field(min_length=1, max_length=222)],
    prefix: Annotated[str, Field(max_length=1024)] = "",
    index: Annotated[str, Field(min_length=1, max_length=63)] = "image_embeddings",
    model: ModelName = "multimodalembedding@001",
    dimension: Dimension = 128,
    crop: Crop = "none",
    limit: Annotated[int, Field(ge=1)] | None = None,
    query: Annotated[str, Field(min_length=1, max_length=1024)] | None = None,
    neighbours: Annotated[int, Field(ge=1, le=100)] = 5,
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] = 600,
    batch_size: Annotated[int, Field(ge=1, le=5000)] | None = None,
    shards: Annotated[int, Field(ge=1, le=64)] = 1,
    plan_only: bool = False,
    retry_refused: bool = False,
    allow_empty: bool = False,
    max_deletions: Share = 0.1,
    max_price: Annotated[float, Field(ge=0, le=1_000_000)] = 100.0,
    max_refusals: Share = 0.1,
    max_leftovers: Share = 0.01,
) -> State[SyncOutcome]:
    """List a bucket's images, embed what is new, prove the result, and show it to readers.

    Args:
        bucket: Cloud Storage bucket, without gs://.
        prefix: Only objects whose name begins with this.
        index: Name of the view that readers query.
        model: Embedding model.
        dimension: Numbers in a vector; more tell images apart better and take more room.
        crop: Embed what an image shows, without the sky around it; its bytes are read then.
        limit: Stop after this many images, for a try-out; nothing is removed then.
        query: Image to show the nearest images of; by default the first.
        neighbours: How many nearest images to show.
        requests_per_minute: Your quota of the model; calls are paced to it.
        batch_size: Images in one task; by default chosen from the quota and the bucket.
        shards: Processes to share the work among, this one included; each further one needs a
            worker.
        plan_only: Say what would be done and what it costs, and stop.
        retry_refused: Ask again for images that were refused before.
        allow_empty: Let an empty bucket or prefix empty the index.
        max_deletions: Share of the index that may be gone from the bucket.
        max_price: US dollars that the run may spend on calls.
        max_refusals: Share of the images that may be refused.
        max_leftovers: Share of the images that may be left for the next run, rounded up: 0.01 of 50
            images is 1, and 0 is none.
    """
    options = SyncOptions(
        bucket=bucket,
        prefix=prefix,
        index=index,
        model=model,
        dimension=dimension,
        crop=crop,
        limit=limit,
        query=query,
        neighbours=neighbours,
        requests_per_minute=requests_per_minute,
        batch_size=batch_size,
        plan_only=plan_only,
        retry_refused=retry_refused,
        allow_empty=allow_empty,
        max_deletions=max_deletions,
        max_price=max_price,
        max_refusals=max_refusals,
        max_leftovers=max_leftovers,
    )
    async with watched_run(options) as run:
        listing = await list_images(bucket, prefix)
        space = await create_table(index, dimension, wait_for=[listing])
        plan = await plan_sync(wait_for=[space])
        outcome = SyncOutcome(plan, url_for("flow-run", runtime.flow_run.id))
        if plan_only:
            return Completed(message=outcome.sentence, data=outcome)

        async def embed_and_insert(batch: Batch) -> Counts:
            counts = await embed_batch(batch, wait_for=[plan])
            return await insert_batch(batch, counts)

        async with workers(run, plan, shards):
            inserted = await for_each(claim_batches(run), embed_and_insert, BATCHES_IN_FLIGHT)
        csv = await write_csv(wait_for=[plan, *inserted])
        outcomes = await report_outcomes(wait_for=[csv])
        built = await build_index(wait_for=[outcomes])
        verdict = await verify(wait_for=[built])
        await publish(index, wait_for=[verdict])
        outcome = outcome.completed(await summarise(run), outcomes, verdict, csv, run.contact_sheet)
        return Completed(message=outcome.sentence, data=outcome)


if __name__ == "__main__":
    from flows.terminal.run import run_flow_from_command_line
    from flows.terminal.show import show_sync

    run_flow_from_command_line(embed_images, show_sync)
