"""Let other workers of the pool work for a run, each of which claims batches as the run does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from httpx import HTTPError
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling

from tasks.core.errors import InvalidInput
from tasks.core.runs.run import Run
from tasks.core.types import SyncPlan

DEPLOYMENT = "embed-shard/embed-shard"

SECONDS_TO_FINISH = 5.0
"""How long a shard may take to see that all batches are done."""

SECONDS_TO_END = 10.0
"""How long a shard may take to end once its run has: Prefect gives a cancelled run 30 in all."""

OVER = "Its run is over."


@asynccontextmanager
async def workers(run: Run, plan: SyncPlan, shards: int) -> AsyncIterator[None]:
    """Run the deployment embed-shard for each process beside this one; end them with the block.

    Nobody waits for them: what one does not do, another process of the run claims.

    Raises:
        InvalidInput: the deployment is not registered.
    """
    if shards == 1 or not plan.calls:
        yield
        return
    async with get_client() as client:
        started: list[UUID] = []
        seconds = 0.0
        try:
            for shard in range(2, shards + 1):
                started += await _start(client, run, shard)
            yield
            seconds = SECONDS_TO_FINISH
        finally:
            await _end(client, started, seconds)


async def _start(client: PrefectClient, run: Run, shard: int) -> list[UUID]:
    """Return the flow run of a shard; none where Prefect's server does not answer."""
    try:
        flow_run = await arun_deployment(
            DEPLOYMENT,
            client=client,
            parameters={"run_id": run.run_id, "shard": shard},
            # Where the answer was lost, the shard is there already.
            idempotency_key=f"{run.identity.run_key} shard {shard}",
            timeout=0,
        )
    except ObjectNotFound as error:
        raise InvalidInput(
            f"Prefect's server has no deployment {DEPLOYMENT}, which more shards"
            " than 1 need. Run `prefect deploy --all`, or set shards=1."
        ) from error
    except HTTPError as error:
        get_run_logger().warning("Shard %d was not started; the run goes on: %s", shard, error)
        return []
    return [flow_run.id]


async def _end(client: PrefectClient, started: list[UUID], seconds: float) -> None:
    """Let no shard work on, or begin: the batches are done, or their run failed or was cancelled.

    Shards may take so many seconds to end by themselves.

    One that Prefect cannot reach now sees in Postgres that its run is over, and ends by itself.
    """
    try:
        left = await _wait(client, started, seconds)
        for shard in left:
            # Where no worker has it, Prefect makes this Cancelled at once; else its worker ends it.
            await client.set_flow_run_state(shard, Cancelling(message=OVER))
        for shard in await _wait(client, left, SECONDS_TO_END):
            # Its worker is dead.
            await client.set_flow_run_state(shard, Cancelled(message=OVER), force=True)
    except (HTTPError, PrefectHTTPStatusError) as error:
        get_run_logger().warning("Shards end by themselves; Prefect did not end them: %s", error)


async def _wait(client: PrefectClient, started: list[UUID], seconds: float) -> list[UUID]:
    """Return the shards that have not ended within so many seconds."""
    left, deadline = started, time.monotonic() + seconds
    while left := [shard for shard in left if not await _has_ended(client, shard)]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    return left


async def _has_ended(client: PrefectClient, shard: UUID) -> bool:
    try:
        state = (await client.read_flow_run(shard)).state
    except ObjectNotFound:
        return True
    return state is not None and state.is_final()
