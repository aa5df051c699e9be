"""What a dead run had paid for is loaded by the next of its space, and paid for once."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.core import csv_parts
from tasks.core.csv_parts import PartWriter
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import GuardStopped, PartInUse
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.planning.plan_sync import plan_sync
from tasks.core.runs import accounting, lifecycle
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import carry_out, dying_run, options, prepare, sync

RUNS = """
SELECT verdict, recovered, embedded, calls, (price_usd / 0.0001)::integer
FROM birdwalk.runs ORDER BY run_id
"""
VIEW = "SELECT image_id, embedding::text FROM image_embeddings"


async def count_nothing(*_: object) -> None:
    """As in a process that was killed before it could."""


async def die_after(
    settings: Settings, bucket: LocalBucket, batches: int = 1, size: int = 10, **changes: object
) -> None:
    """Embed batches into their parts, and end before any is inserted, or its calls are counted."""
    with suppress(asyncio.CancelledError), pytest.MonkeyPatch.context() as patch:
        for module in (accounting, lifecycle):
            patch.setattr(module, "count_sent", count_nothing)
        asked = options(bucket.name, batch_size=size, **changes)
        async with open_run(asked, settings, "test") as run:
            await prepare(run)
            for batch in range(1, batches + 1):
                await embed_batch(run, batch)
            raise asyncio.CancelledError


async def test_the_parts_of_a_dead_run_are_loaded_and_not_paid_again(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(12)
    await die_after(settings, bucket, batches=2, size=5)
    async with open_run(options(bucket.name, plan_only=True), settings, "test") as run:
        made = await prepare(run)
        assert (made.recovered, made.calls) == (10, 2)
    # A plan leaves them where they are.
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.plan.calls) == (10, 2)
    assert await model_server.answers() == 12
    assert synced.published.images == 12
    # The price stays the dead run's.
    assert await fetch(url, RUNS) == [
        ("cancelled", 0, 10, 10, 10),
        ("completed", 0, 0, 0, 0),
        ("completed", 10, 2, 2, 2),
    ]
    assert list(settings.data_directory.glob("runs/*/parts")) == []


async def test_a_batch_that_is_in_the_space_already_is_not_recovered(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(14)
    async with dying_run(settings, bucket.name, batch_size=5) as run:
        await prepare(run)
        await insert_batch(run, 1, await embed_batch(run, 1))
        await embed_batch(run, 2)
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.plan.calls, await model_server.calls()) == (5, 4, 14)
    assert await fetch(url, RUNS) == [("failed", 0, 10, 10, 10), ("completed", 5, 4, 4, 4)]


async def test_what_was_recovered_stays_where_a_guard_stops_the_run(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(12)
    await die_after(settings, bucket)
    with pytest.raises(GuardStopped):
        await sync(settings, bucket.name, max_price=0.0)
    assert (await sync(settings, bucket.name)).published.images == 12
    assert await model_server.answers() == 12


async def test_a_part_that_is_still_written_is_waited_for_and_not_removed(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket.put_pictures(3)
    await die_after(settings, bucket)
    (part,) = settings.data_directory.glob("runs/*/parts/part-*.csv")
    first, *later = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(first)
    await model_server.reset()
    sent_away = asyncio.Event()
    lock = csv_parts._lock

    def tell(file: int, path: Path) -> None:
        try:
            lock(file, path)
        except PartInUse:
            sent_away.set()
            raise

    with PartWriter(part, 128):
        monkeypatch.setattr(csv_parts, "_lock", tell)
        syncing = asyncio.create_task(sync(settings, bucket.name))
        waited = asyncio.create_task(sent_away.wait())
        # A run that waits for nobody is done before it was sent away.
        await asyncio.wait([syncing, waited], return_when=asyncio.FIRST_COMPLETED)
        assert not syncing.done()
        with part.open("ab") as file:
            file.writelines(later)
    assert (await syncing).plan.recovered == 3
    assert not part.parent.exists()
    assert await model_server.calls() == 0
    # What was counted before is counted no second time.
    assert (await fetch(url, RUNS))[0] == ("cancelled", 0, 3, 3, 3)


async def test_an_answer_about_a_version_that_was_overwritten_or_deleted_is_never_loaded(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    with suppress(asyncio.CancelledError):
        async with open_run(options(bucket.name), settings, "test") as run:
            await prepare(run)
            # The model reads the new bytes, and the run dies before it looks at the bucket.
            bucket.put("0001.png", picture(90))
            bucket.put("0002.png", picture(91))
            run.clients.pictures.reads_the_listed_version = True
            await embed_batch(run, 1)
            raise asyncio.CancelledError
    bucket.delete("0002.png")
    # Now the content that the dead run had listed is there again, under other names.
    bucket.put("back.png", picture(1))
    bucket.put("0003 again.png", picture(3))
    await model_server.reset()
    async with open_run(options(bucket.name), settings, "test") as run:
        synced = await carry_out(run, await prepare(run))
        assert (synced.plan.recovered, synced.plan.calls) == (2, 2)
        shown = dict(await fetch(url, VIEW))
        for name, number in {"0001.png": 90, "back.png": 1, "0003 again.png": 3}.items():
            await is_the_models(run, shown[name], picture(number))
    assert shown.keys() == {"0000.png", "0001.png", "0003.png", "0003 again.png", "back.png"}
    assert await model_server.answers() == 2 + 3  # the test's own
    assert (await fetch(url, RUNS))[0] == ("cancelled", 0, 2, 4, 4)


async def is_the_models(run: Run, vector: str, data: bytes) -> None:
    """See that a vector is what the model answers for a picture."""
    answer = await run.clients.embedder.embed_bytes(data)
    stored = [float(number) for number in vector.strip("[]").split(",")]
    assert max(abs(answer - stored)) < 1e-4


async def test_a_content_that_the_index_knows_is_not_paid_for_when_a_dead_run_asked_for_another(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    """The known content A is moved while B, which took its place, is in a dead run's part."""
    bucket.put("x.png", picture(1))
    await sync(settings, bucket.name)
    before = dict(await fetch(url, VIEW))["x.png"]
    bucket.put("x.png", picture(2))
    await die_after(settings, bucket)
    bucket.put("y.png", picture(1))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.plan.calls, await model_server.answers()) == (1, 0, 0)
    shown = dict(await fetch(url, VIEW))
    assert shown["y.png"] == before != shown["x.png"]


async def test_a_content_is_recovered_under_whatever_name_it_has_by_now(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("m.png", picture(1))
    bucket.put("n.png", picture(2))
    await die_after(settings, bucket)
    # A copy that comes first in the order of names, and one in another folder.
    bucket.put("a.png", picture(1))
    bucket.put("folder/z.png", picture(2))
    await model_server.reset()
    synced = await sync(settings, bucket.name, prefix="folder/")
    assert (synced.plan.recovered, synced.plan.calls) == (2, 0)
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.plan.calls) == (0, 0)
    assert await model_server.calls() == 0
    shown = dict(await fetch(url, VIEW))
    assert shown["a.png"] == shown["m.png"] != shown["n.png"] == shown["folder/z.png"]


async def test_the_parts_of_one_space_outlive_a_run_of_another(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(4)
    await die_after(settings, bucket, dimension=256)
    other = await sync(settings, bucket.name)
    assert (other.plan.recovered, await model_server.calls()) == (0, 8)
    synced = await sync(settings, bucket.name, dimension=256)
    assert (synced.plan.recovered, await model_server.calls()) == (4, 8)


@pytest.mark.parametrize("smaller", ["limit", "other bucket"])
async def test_a_run_on_something_else_loads_the_parts_too(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, smaller: str
) -> None:
    bucket.put_pictures(6)
    await die_after(settings, bucket)
    if smaller == "limit":
        between = await sync(settings, bucket.name, limit=2)
        assert between.published.images == 2
    else:
        other = LocalBucket(f"{bucket.name}-other", bucket.client)
        bucket.client.create_bucket(other.name)
        other.put("one.png", picture(0))
        between = await sync(settings, other.name)
        assert between.published.images == 1
    assert (between.plan.recovered, between.plan.calls) == (6, 0)
    whole = await sync(settings, bucket.name)
    assert (whole.plan.recovered, whole.plan.calls, await model_server.calls()) == (0, 0, 6)


async def test_what_was_refused_and_then_paid_for_by_a_dead_run_is_refused_no_more(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(2)
    bucket.put("bad.png", b"this is no picture")
    await sync(settings, bucket.name)
    await model_server.configure(instant=True)  # a model that has learned to read it
    await die_after(settings, bucket, retry_refused=True)
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.recovered, synced.published.images) == (1, 3)
    assert await model_server.calls() == 0
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0


async def test_planning_twice_gives_the_same_plan(run: Run, bucket: LocalBucket) -> None:
    bucket.put_pictures(12)
    # What Prefect's retry of the task does.
    assert await prepare(run) == await plan_sync(run)
