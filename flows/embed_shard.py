"""Embed one shard of a run's batches: started by embed_images, on any worker of the pool."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled
from pydantic import Field

from tasks.core.concurrency import BATCHES_IN_FLIGHT, for_each
from tasks.core.embedding.shards import batches_of_shard, counted
from tasks.core.errors import RunIsOver
from tasks.core.runs.lifecycle import attach_run
from tasks.core.settings import get_settings
from tasks.core.types import Batch, BatchReport
from tasks.embedding import embed_batch
from tasks.loading import insert_batch
from tasks.runs import prune_files


@flow(
    name="embed-shard",
    flow_run_name="shard {shard} of run {run_id}",
    description="Embeds a part of a run's batches; started by embed-images, not by hand.",
)
async def embed_shard(
    *,
    run_id: Annotated[int, Field(ge=1)],
    shard: Annotated[int, Field(ge=0)],
    shards: Annotated[int, Field(ge=1)],
    images: Annotated[int, Field(ge=0)],
    batch_size: Annotated[int, Field(ge=1)],
) -> int | State[None]:
    """Embed and insert every `shards`-th batch of a run, and return how many there were.

    Args:
        run_id: The run, in birdwalk.runs, that is under way.
        shard: Which part, from 0.
        shards: How many parts there are; each has an equal share of the pace.
        images: Images that the run embeds in all.
        batch_size: Images in one batch.
    """
    try:
        async with attach_run(run_id, shard, shards, get_settings()) as run:
            batches = await batches_of_shard(run, shard, shards, images, batch_size)

            async def embed_and_insert(batch: Batch) -> BatchReport:
                return await insert_batch(await embed_batch(batch), batch)

            async with counted(run):
                done = await for_each(batches, embed_and_insert, BATCHES_IN_FLIGHT)
            await prune_files(run)
            return len(done)
    except RunIsOver as error:
        # It was cancelled with its run, when a worker was starting it already.
        return Cancelled(message=str(error))
