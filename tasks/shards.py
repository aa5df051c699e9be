"""Hand a run's batches to other workers, and take over what dead ones leave."""

import asyncio
import time
from dataclasses import dataclass, field
from uuid import UUID

from httpx import HTTPError
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling, Crashed

from tasks.core.errors import DatabaseUnavailable
from tasks.core.progress import count_done
from tasks.core.run import Run
from tasks.core.shards import give_up_shard, live_shards
from tasks.core.types import SyncPlan

DEPLOYMENT = "embed-shard/embed-shard"
SECONDS_BETWEEN_LOOKS = 2.0

SECONDS_TO_START = 180.0
"""How long a shard may wait for a worker before its batches are done here."""

SECONDS_TO_BE_DEAD = 10.0
"""How long a shard that was alive may be out of sight: a lost connection is made again."""

SECONDS_TO_END = 10.0
"""How long a worker may take to end a shard of a run that is over: Prefect gives a cancelled run
30 in all."""

OVER = "Its run is over."


@dataclass(slots=True)
class _Shard:
    number: int
    flow_run: UUID
    asked_at: float = field(default_factory=time.monotonic)
    seen_at: float | None = None
    ended: bool = False

    def verdict(self, now: float) -> State[None] | None:
        """Return the state to put a shard in that will not end by itself, if so."""
        if self.seen_at is None and now - self.asked_at > SECONDS_TO_START:
            return Cancelled(message="No worker took it in time; its run does its batches.")
        if self.seen_at is not None and now - self.seen_at > SECONDS_TO_BE_DEAD:
            return Crashed(message="Its process died; its run does its batches.")
        return None


async def embed_in_shards(run: Run, plan: SyncPlan, shards: int) -> None:
    """Run the deployment embed-shard once a shard, and wait until none will do more.

    Where the run fails or is cancelled meanwhile, so are its shards.

    Batches that a shard left undone are the caller's to do: it asks for unfinished_batches.

    Raises:
        IndexBusy: the run lost its index to another.
    """
    if not plan.calls:
        return
    started: list[_Shard] = []
    with run.timed("embed_batches"):
        async with get_client() as client:
            try:
                for number in range(shards):
                    flow_run = await _start_shard(run, plan, number, shards)
                    started.append(_Shard(number, flow_run))
                while not all(shard.ended for shard in started):
                    await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                    try:
                        await _look_after(run, client, started)
                    except DatabaseUnavailable:
                        # Nobody can be seen now, the living neither.
                        for shard in started:
                            shard.seen_at = shard.seen_at and time.monotonic()
            finally:
                await _end(client, [shard for shard in started if not shard.ended])


async def _end(client: PrefectClient, left: list[_Shard]) -> None:
    """Let no shard work on, or begin, for a run that failed or was cancelled."""
    if not left:
        return
    try:
        # Where no worker has it, Prefect makes this Cancelled at once; else its worker ends it.
        for shard in left:
            await client.set_flow_run_state(shard.flow_run, Cancelling(message=OVER))
        deadline = time.monotonic() + SECONDS_TO_END
        while left and time.monotonic() < deadline:
            left = [shard for shard in left if not await _has_ended(client, shard)]
            await asyncio.sleep(0.5)
        for shard in left:
            # Its worker is dead.
            await client.set_flow_run_state(shard.flow_run, Cancelled(message=OVER), force=True)
    except (HTTPError, PrefectHTTPStatusError) as error:
        get_run_logger().warning("Shards end by themselves; Prefect did not end them: %s", error)


async def _has_ended(client: PrefectClient, shard: _Shard) -> bool:
    state = (await client.read_flow_run(shard.flow_run)).state
    return state is not None and state.is_final()


async def _look_after(run: Run, client: PrefectClient, started: list[_Shard]) -> None:
    """See who is alive and who has ended, and give up those that are neither."""
    await run.hold.take()
    await count_done(run)
    alive = await live_shards(run, len(started))
    for shard in started:
        if shard.ended:
            continue
        now = time.monotonic()
        if shard.number in alive:
            shard.seen_at = now
        shard.ended = await _has_ended(client, shard)
        verdict = shard.verdict(now)
        if shard.ended or verdict is None or not await give_up_shard(run, shard.number):
            continue
        get_run_logger().warning("Shard %d: %s", shard.number, verdict.message)
        await client.set_flow_run_state(shard.flow_run, verdict, force=True)
        shard.ended = True


async def _start_shard(run: Run, plan: SyncPlan, number: int, shards: int) -> UUID:
    flow_run = await arun_deployment(
        DEPLOYMENT,
        parameters={
            "run_id": run.run_id,
            "shard": number,
            "shards": shards,
            "images": plan.calls,
            "batch_size": plan.batch_size,
        },
        timeout=0,
    )
    return flow_run.id
