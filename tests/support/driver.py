"""A sync in a process of its own, to be killed: the flow's steps, without Prefect.

    python -m tests.support.driver BUCKET REQUESTS_PER_MINUTE BATCH_SIZE

As the flow, it has three batches in flight and repeats a step for which Postgres was away. Exits
with 3 and says why when birdwalk stops it.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tasks.core import csvreport, embedding, loading, pending, reconcile, refusals, shards
from tasks.core.concurrency import BATCHES_IN_FLIGHT, for_each
from tasks.core.errors import BirdwalkError, DatabaseUnavailable
from tasks.core.run import Run, open_run
from tasks.core.settings import Settings
from tasks.core.types import Batch, BatchReport, SyncPlan
from tests.support.sync import finish, options, prepare

STOPPED = 3
SECONDS_WITHOUT_DATABASE = 20.0

Result = TypeVar("Result")


async def patiently(step: Callable[[], Awaitable[Result]]) -> Result:
    """Return what a step does, begun again where Postgres was away, as Prefect does."""
    deadline = time.monotonic() + SECONDS_WITHOUT_DATABASE
    while True:
        try:
            return await step()
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)


async def drive(bucket: str, requests_per_minute: int, batch_size: int) -> None:
    """Make the index equal the bucket."""
    asked = options(bucket, requests_per_minute=requests_per_minute, batch_size=batch_size)
    async with open_run(asked, Settings(), "run driver") as run:
        made = await patiently(lambda: prepare(run))
        await patiently(lambda: reconcile.reuse_vectors(run, made))
        await _embed(run, made)
        await patiently(lambda: csvreport.write_csv(run))
        await patiently(lambda: reconcile.reuse_vectors(run, made))
        refusals.refuse_too_many(run, await patiently(lambda: refusals.list_refusals(run)))
        pending.refuse_too_many_pending(run, await patiently(lambda: pending.list_pending(run)))
        await patiently(lambda: reconcile.remove_gone(run, made))
        await patiently(lambda: finish(run))


async def _embed(run: Run, made: SyncPlan) -> None:
    async def embed_and_insert(batch: Batch) -> BatchReport:
        report = await patiently(lambda: embedding.embed_batch(run, batch.number))
        return await patiently(lambda: loading.insert_batch(run, report))

    batches = await patiently(lambda: shards.unfinished_batches(run, made))
    await for_each(batches, embed_and_insert, BATCHES_IN_FLIGHT)


if __name__ == "__main__":
    try:
        asyncio.run(drive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    except BirdwalkError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(STOPPED)
