"""Hand a run's batches to other workers, and take over what dead ones leave."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from httpx import HTTPError, HTTPStatusError
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling, Crashed

from tasks.core.embedding.shards import count_done, give_up_shard, live_shards
from tasks.core.errors import DatabaseUnavailable, InvalidInput, PrefectUnavailable
from tasks.core.runs.outages import Outage
from tasks.core.runs.run import Run
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

SECONDS_WITHOUT_PREFECT = 1800.0
"""How long Prefect's server may be away: its shards go on embedding without it, and Postgres shows
what they have done."""

REFUSALS = frozenset(range(400, 500)) - {408, 429}
"""HTTP statuses that asking again does not mend: a revoked key, an outdated deployment."""

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
        InvalidInput: the deployment is not registered.
        PrefectUnavailable: Prefect's server was away for too long.
    """
    if not plan.calls:
        return
    started: list[_Shard] = []
    outage = Outage("Prefect's server", SECONDS_WITHOUT_PREFECT, get_run_logger().warning)
    with run.timed("embed_batches"):
        async with get_client() as client:
            try:
                for number in range(shards):
                    shard = await _start_shard(client, run, plan, number, shards, outage)
                    started.append(shard)
                _see_nobody(started)
                while not all(shard.ended for shard in started):
                    await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                    await _look_patiently(run, client, started, outage)
            finally:
                await _end(client, [shard for shard in started if not shard.ended])


async def _end(client: PrefectClient, left: list[_Shard]) -> None:
    """Let no shard work on, or begin, for a run that failed or was cancelled."""
    if not left:
        return
    try:
        # Where no worker has it, Prefect makes this Cancelled at once; else its worker ends it.
        for shard in left:
            with suppress(ObjectNotFound):  # somebody deleted it
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
    try:
        state = (await client.read_flow_run(shard.flow_run)).state
    except ObjectNotFound:
        # Somebody deleted it: whether it lives is seen in Postgres alone.
        return True
    return state is not None and state.is_final()


async def _look_after(
    run: Run, client: PrefectClient, started: list[_Shard], outage: Outage
) -> None:
    """See who is alive and who has ended, and give up those that are neither."""
    await run.hold.take()
    await count_done(run)
    alive = await live_shards(run, len(started))
    for shard in started:
        if shard.ended:
            continue
        now = time.monotonic()
        if shard.number in alive:
            # Whatever Prefect calls it: after an outage it may take the living for dead.
            shard.seen_at = now
            continue
        has_ended = await _has_ended(client, shard)
        verdict = shard.verdict(now)
        if has_ended or verdict is not None:
            # Also one that Prefect calls ended: it may be wrong, and the shard come back.
            shard.ended = await give_up_shard(run, shard.number)
        if shard.ended and not has_ended and verdict is not None:
            await _record(client, shard, verdict)
    outage.over()


async def _record(client: PrefectClient, shard: _Shard, verdict: State[None]) -> None:
    """Tell Prefect what became of a shard that cannot say so itself."""
    get_run_logger().warning("Shard %d: %s", shard.number, verdict.message)
    try:
        await client.set_flow_run_state(shard.flow_run, verdict, force=True)
    except (HTTPError, ObjectNotFound) as error:
        get_run_logger().warning("Prefect did not record that: %s", error)


async def _look_patiently(
    run: Run, client: PrefectClient, started: list[_Shard], outage: Outage
) -> None:
    try:
        await _look_after(run, client, started, outage)
    except DatabaseUnavailable:
        _see_nobody(started)
    except HTTPError as error:
        _give_up_after_long(outage, error)
        _see_nobody(started)


def _see_nobody(started: list[_Shard]) -> None:
    """Hold against no shard that it cannot be seen, or taken by a worker, now."""
    for shard in started:
        shard.asked_at = now = time.monotonic()
        shard.seen_at = shard.seen_at and now


def _give_up_after_long(outage: Outage, error: HTTPError) -> None:
    if isinstance(error, HTTPStatusError) and error.response.status_code in REFUSALS:
        raise error
    if outage.lasts(error):
        raise PrefectUnavailable(
            f"Prefect's server was away for {outage.longest_seconds / 60:.0f} minutes"
            f" ({type(error).__name__}: {error}). The run ends, and its shards with it. What was"
            " embedded is kept: run again when the server answers (PREFECT_API_URL)."
        ) from error


async def _start_shard(
    client: PrefectClient, run: Run, plan: SyncPlan, number: int, shards: int, outage: Outage
) -> _Shard:
    while True:
        try:
            flow_run = await arun_deployment(
                DEPLOYMENT,
                client=client,
                parameters={
                    "run_id": run.run_id,
                    "shard": number,
                    "shards": shards,
                    "images": plan.calls,
                    "batch_size": plan.batch_size,
                },
                # Where the answer was lost, the shard is there already.
                idempotency_key=f"{run.identity.run_key} shard {number}",
                timeout=0,
            )
        except ObjectNotFound as error:
            raise InvalidInput(
                f"Prefect's server has no deployment {DEPLOYMENT}, which shards={shards} needs; the"
                f" {number} shards that were started are ended. Run `prefect deploy --all`, or set"
                " shards=1."
            ) from error
        except HTTPError as error:
            _give_up_after_long(outage, error)
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        else:
            outage.over()
            return _Shard(number, flow_run.id)
