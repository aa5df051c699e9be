"""What dead runs had paid for waits until a run of its own space can use it."""

import asyncio
from contextlib import suppress

from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.planning.plan_sync import plan_sync
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync


async def die_with_parts(settings: Settings, bucket: LocalBucket, **changes: object) -> None:
    """Embed the first batch of ten into its part, and end before it is inserted."""
    with suppress(asyncio.CancelledError):
        asked = options(bucket.name, batch_size=10, **changes)
        async with open_run(asked, settings, "test") as run:
            await prepare(run)
            await embed_batch(run, 1)
            raise asyncio.CancelledError


async def test_the_parts_of_one_space_outlive_a_run_of_another(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(4)
    await die_with_parts(settings, bucket, dimension=256)
    await sync(settings, bucket.name)
    await model_server.reset()
    synced = await sync(settings, bucket.name, dimension=256)
    assert (synced.plan.recovered, await model_server.calls()) == (4, 0)


async def test_a_smaller_listing_takes_what_it_covers_and_leaves_the_rest(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(6)
    await die_with_parts(settings, bucket)
    await model_server.reset()
    small = await sync(settings, bucket.name, limit=2)
    assert (small.plan.recovered, await model_server.calls()) == (2, 0)
    whole = await sync(settings, bucket.name)
    assert (whole.plan.recovered, await model_server.calls()) == (4, 0)


async def test_the_parts_of_one_bucket_outlive_a_run_on_another(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(4)
    other = LocalBucket(f"{bucket.name}-other", bucket.client)
    bucket.client.create_bucket(other.name)
    other.put_pictures(3)
    await die_with_parts(settings, bucket)
    await sync(settings, other.name)
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, await model_server.calls()) == (4, 0)


async def test_what_was_refused_and_then_paid_for_by_a_dead_run_is_refused_no_more(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(2)
    bucket.put("bad.png", b"this is no picture")
    await sync(settings, bucket.name)
    await model_server.configure(instant=True)  # a model that has learned to read it
    await die_with_parts(settings, bucket, retry_refused=True)
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.verdict.rows, await model_server.calls()) == (1, 3, 0)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0


async def test_planning_twice_gives_the_same_plan(run: Run, bucket: LocalBucket) -> None:
    bucket.put_pictures(12)
    # What Prefect's retry of the task does.
    assert await prepare(run) == await plan_sync(run)
