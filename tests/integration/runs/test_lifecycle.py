"""One run at a time has an index, and each run is recorded with its end."""

import asyncio

import pytest

from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import SpaceBusy, SystemicFailure
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync


@pytest.mark.usefixtures("unwatched")
async def test_a_held_index_is_refused_to_a_second_run_and_free_when_the_holder_dies(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(3)
    async with open_run(options(bucket.name), settings, "run merry-finch"):
        busy = r"'image_embeddings' is held by another run \(birdwalk run merry-finch since"
        with pytest.raises(SpaceBusy, match=busy):
            await sync(settings, bucket.name)
        assert await model_server.calls() == 0
        # Another index is free all the while.
        await sync(settings, bucket.name, index="another")
        await execute(
            url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE '%merry-finch'",
        )
        assert (await sync(settings, bucket.name)).verdict.rows == 3
    assert (await sync(settings, bucket.name)).plan.unchanged == 3


@pytest.mark.usefixtures("unwatched")
async def test_a_run_that_lost_its_index_to_another_stops(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await prepare(run)
    await execute(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    async with open_run(options(bucket.name), run.settings, "run usurper"):
        with pytest.raises(SpaceBusy, match="usurper"):
            await embed_batch(run, 1)


async def test_every_run_is_recorded_with_its_end(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)

    async def cancelled() -> None:
        async with open_run(options(bucket.name), settings, "test"):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await cancelled()
    await model_server.configure(denied=True)
    with pytest.raises(SystemicFailure):
        await sync(settings, bucket.name, index="denied")
    runs = "SELECT verdict, listed, embedded, price_usd::float, calls FROM birdwalk.runs ORDER BY 1"
    *ended, (*failed, denied) = await fetch(url, runs)
    assert ended == [("cancelled", 0, 0, 0.0, 0), ("completed", 3, 3, 0.0003, 3)]
    assert failed == ["failed", 3, 0, 0.0]
    assert 1 <= denied <= 3
