"""Work for a run of embed_images beside its own process; started by it, on any worker."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled
from pydantic import Field

from tasks.core.concurrency import BATCHES_IN_FLIGHT, for_each
from tasks.core.embedding.work_list import claim_batches
from tasks.core.errors import RunIsOver
from tasks.core.runs.lifecycle import attach_run
from tasks.core.settings import get_settings
from tasks.core.types import Batch, Counts
from tasks.embedding import embed_batch
from tasks.loading import insert_batch


@flow(
    name="embed-shard",
    flow_run_name="shard {shard} of run {run_id}",
    description="Embeds some of a run's batches; started by embed-images, not by hand.",
)
async def embed_shard(
    *,
    run_id: Annotated[int, Field(ge=1)],
    shard: Annotated[int, Field(ge=2)],  # noqa: ARG001 - in the flow run's name
) -> int | State[None]:
    """Embed and insert the batches of a run that nobody has, and return how many there were.

    Args:
        run_id: The run, in birdwalk.runs, that is under way.
        shard: Which of the run's processes this is; 1 is the run's own.
    """

    async def embed_and_insert(batch: Batch) -> Counts:
        return await insert_batch(batch, await embed_batch(batch))

    try:
        async with attach_run(run_id, get_settings()) as run:
            done = await for_each(claim_batches(run), embed_and_insert, BATCHES_IN_FLIGHT)
            return len(done)
    except RunIsOver as error:
        # It was cancelled with its run, when a worker was starting it already.
        return Cancelled(message=str(error))
