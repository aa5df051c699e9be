"""What a dead run had paid for is not paid for again, and waits for a run of its own space."""

import asyncio

import pytest

from tasks.core import csv_parts
from tasks.core.csv_parts import PartWriter
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import PartInUse
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import die_with_parts, dying_run, prepare, sync
from tests.support.truth import check_shown, contents

RUNS = "SELECT calls, recovered, verdict, message FROM birdwalk.runs ORDER BY run_id"


async def test_the_parts_of_a_dead_run_are_loaded_once_and_its_bill_is_made_up(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(14)
    await model_server.reset()
    async with dying_run(settings, bucket.name, batch_size=5) as run:
        await prepare(run)
        await insert_batch(run, 1, await embed_batch(run, 1))
        await embed_batch(run, 2)
    assert await model_server.calls() == 10
    synced = await sync(settings, bucket.name)
    # The first batch was there already; only the second is recovered.
    assert (synced.plan.recovered, synced.plan.calls, await model_server.calls()) == (5, 4, 14)
    assert await fetch(url, RUNS) == [(10, 0, "failed", "killed"), (4, 5, "completed", "")]
    assert not run.parts.exists()
    await check_shown(settings, url, contents(bucket))


async def test_a_part_that_is_still_written_is_waited_for_and_not_removed(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket.put_pictures(3)
    await die_with_parts(settings, bucket.name)
    (part,) = settings.data_directory.glob("runs/*/parts/part-*.csv")
    first, *later = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(first)
    await model_server.reset()
    tried = asyncio.Event()
    refused = csv_parts._lock

    def lock(file: int, _path: object) -> None:
        try:
            refused(file, part)
        except PartInUse:
            tried.set()
            raise

    with PartWriter(part, 128):
        monkeypatch.setattr(csv_parts, "_lock", lock)
        syncing = asyncio.create_task(sync(settings, bucket.name))
        await tried.wait()
        with part.open("ab") as file:
            file.writelines(later)
        assert not syncing.done()
    assert (await syncing).plan.recovered == 3
    assert not part.parent.exists()
    assert await model_server.calls() == 0


async def test_an_answer_that_may_be_another_versions_is_asked_for_again_and_no_other(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("x.png", picture(0))
    await sync(settings, bucket.name)
    bucket.put("x.png", picture(10))
    bucket.put_pictures(4, prefix="more/")
    await die_with_parts(settings, bucket.name)
    bucket.put("y.png", picture(0))  # what the index knows, which the dead run was about to replace
    bucket.rename("more/0003.png", "moved.png")
    bucket.put("more/0002.png", picture(90))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.plan.calls, await model_server.calls()) == (2, 2, 2)
    await check_shown(settings, url, contents(bucket))


async def test_parts_of_another_space_or_bucket_wait_for_their_own_run(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(4)
    other = LocalBucket(f"{bucket.name}-other", bucket.client)
    bucket.client.create_bucket(other.name)
    other.put("other.png", picture(50))
    await die_with_parts(settings, bucket.name, dimension=256)
    await sync(settings, bucket.name)
    await model_server.reset()
    # A run of the space loads it all, whatever it lists: vectors belong to contents.
    elsewhere = await sync(settings, other.name, dimension=256)
    assert (elsewhere.plan.recovered, await model_server.calls()) == (4, 1)
    assert elsewhere.published.images == 5


async def test_a_smaller_listing_loads_all_that_was_paid_for(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(6)
    await die_with_parts(settings, bucket.name)
    await model_server.reset()
    small = await sync(settings, bucket.name, limit=2)
    assert (small.plan.recovered, small.published.images) == (6, 2)
    whole = await sync(settings, bucket.name)
    assert (whole.plan.recovered, whole.published.images, await model_server.calls()) == (0, 6, 0)


async def test_what_was_refused_and_then_paid_for_by_a_dead_run_is_refused_no_more(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(2)
    bucket.put("bad.png", b"this is no picture")
    await sync(settings, bucket.name)
    await model_server.configure(instant=True)  # a model that has learned to read it
    await die_with_parts(settings, bucket.name, retry_refused=True)
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.verdict.images, await model_server.calls()) == (1, 3, 0)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0
