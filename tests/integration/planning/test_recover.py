"""What a killed run had paid for is not paid for again."""

import asyncio
from contextlib import suppress

from tasks.core.csv_parts import PartWriter
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync


async def die_after(settings: Settings, bucket: LocalBucket, batches: int, size: int) -> None:
    """Embed batches into their parts and end before any of them is inserted."""
    with suppress(asyncio.CancelledError):
        async with open_run(options(bucket.name, batch_size=size), settings, "test") as run:
            await prepare(run)
            for batch in range(1, batches + 1):
                await embed_batch(run, batch)
            raise asyncio.CancelledError


async def test_the_parts_of_a_dead_run_are_loaded_and_not_paid_again(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(12)
    await model_server.reset()
    await die_after(settings, bucket, batches=2, size=5)
    assert await model_server.calls() == 10
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.plan.calls) == (10, 2)
    assert await model_server.calls() == 12
    assert synced.verdict.rows == 12


async def test_a_part_that_is_still_written_is_waited_for_and_not_removed(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(3)
    await die_after(settings, bucket, batches=1, size=3)
    (part,) = settings.data_directory.glob("runs/*/parts/part-*.csv")
    first, *later = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(first)
    await execute(url, "DELETE FROM birdwalk.batches")
    await model_server.reset()
    with PartWriter(part, 128):
        planned = await plan_only(settings, bucket)
        assert planned == 1
        syncing = asyncio.create_task(sync(settings, bucket.name))
        # Long enough for a run that waits for nobody.
        await asyncio.wait([syncing], timeout=2.0)
        assert not syncing.done()
        with part.open("ab") as file:
            file.writelines(later)
    assert (await syncing).plan.recovered == 3
    assert not part.parent.exists()
    assert await fetchval(url, "SELECT calls FROM birdwalk.runs ORDER BY run_id LIMIT 1") == 3
    assert await model_server.calls() == 0


async def plan_only(settings: Settings, bucket: LocalBucket) -> int:
    """Return how many rows a plan would recover."""
    async with open_run(options(bucket.name, plan_only=True), settings, "test") as run:
        return (await prepare(run)).recovered


async def test_a_version_that_changed_since_is_not_recovered(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await die_after(settings, bucket, batches=1, size=4)
    generation = bucket.put("0002.png", picture(90))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, await model_server.calls()) == (3, 1)
    query = "SELECT generation FROM image_embeddings WHERE image_id = '0002.png'"
    assert await fetchval(url, query) == generation


async def test_parts_of_another_space_are_left_for_their_own(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(3)
    await die_after(settings, bucket, batches=1, size=3)
    await model_server.reset()
    other = await sync(settings, bucket.name, dimension=256)
    assert (other.plan.recovered, await model_server.calls()) == (0, 3)


async def test_a_smaller_listing_leaves_the_parts_it_does_not_cover(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(6)
    await die_after(settings, bucket, batches=1, size=6)
    await sync(settings, bucket.name, limit=2)
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, await model_server.calls()) == (4, 0)


async def test_a_killed_run_is_recorded_as_such(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    query = "UPDATE birdwalk.runs SET verdict = 'running', finished_at = NULL RETURNING run_id"
    ((killed,),) = await fetch(url, query)
    await sync(settings, bucket.name)
    assert await fetch(
        url, "SELECT verdict, message FROM birdwalk.runs WHERE run_id = $1", killed
    ) == [("failed", "killed")]
