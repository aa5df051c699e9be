"""One run an index: seen by others, lost with its holder, and never had again behind its back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tasks.core.loading.reuse_vectors import remove_gone
from tasks.core.runs.index_lock import IndexHold, ShardHold, kept

from tasks.core.database.connections import Database, open_database
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import SpaceBusy
from tasks.core.runs import index_lock
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync
from tests.support.waiting import until

CUT = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE $1
"""


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """An open database."""
    async with open_database(settings) as opened:
        yield opened


async def cut(url: str, name: str) -> None:
    """End the connections whose application name is like this, as a broken network would."""
    assert await fetchval(url, CUT, name) > 0


async def test_two_indexes_are_filled_at_once(settings: Settings, bucket: LocalBucket) -> None:
    bucket.put_pictures(12)
    first, second = await asyncio.gather(
        sync(settings, bucket.name, index="first"), sync(settings, bucket.name, index="second")
    )
    assert (first.verdict.rows, second.verdict.rows) == (12, 12)


async def test_of_two_runs_on_one_index_the_second_ends_at_once_and_says_who_holds_it(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(6)
    async with open_run(options(bucket.name), settings, "run early-bird") as run:
        made = await prepare(run)
        with pytest.raises(SpaceBusy, match=r"held by another run \(birdwalk run early-bird since"):
            await sync(settings, bucket.name)
        assert await fetchval(url, "SELECT count(*) FROM birdwalk.runs") == 1
        report = await embed_batch(run, made.batches[0].number)
    assert report.embedded == await model_server.calls() == 6


async def test_a_run_whose_connection_broke_goes_on(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    async with open_run(options(bucket.name), settings, "run broken-wire") as run:
        await prepare(run)
        await cut(url, "%broken-wire")
        assert (await embed_batch(run, 1)).embedded == 3


async def test_a_run_that_lost_its_index_stops_in_the_middle_of_a_batch(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    database: Database,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_lock, "SECONDS_BETWEEN_BEATS", 0.1)
    bucket.put_pictures(60)
    await model_server.reset()
    # Sixty images at this pace are half a minute.
    asked = options(bucket.name, batch_size=60, requests_per_minute=120)
    usurper = await database.connect("birdwalk run usurper")

    async def usurp() -> None:
        async def pays() -> bool:
            return await model_server.calls() >= 2

        await until(pays)
        # Waiting for it, it has the lock before the run can have it again.
        lock = "SELECT pg_advisory_lock(hashtextextended('birdwalk index image_embeddings', 0))"
        waiting = asyncio.create_task(usurper.execute(lock))
        await until(lambda: waits_for_the_index(url))
        await cut(url, "%long-breath")
        await waiting

    async def be_long() -> None:
        async with open_run(asked, settings, "run long-breath") as run:
            await prepare(run)
            await embed_batch(run, 1)

    usurping = asyncio.create_task(usurp())
    lost = r"held by another run \(birdwalk run usurper since.*What was embedded is kept"
    with pytest.raises(SpaceBusy, match=lost):
        await be_long()
    await usurping
    assert await model_server.calls() < 15
    verdict = await fetchval(url, "SELECT verdict || ', ' || message FROM birdwalk.runs")
    assert verdict.startswith("failed, SpaceBusy: Index")
    await usurper.close()


async def waits_for_the_index(url: str) -> bool:
    """Return whether a session waits for an advisory lock."""
    waiting = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'advisory'
    """
    return bool(await fetchval(url, waiting))


@pytest.mark.usefixtures("unwatched")
async def test_a_run_that_another_ran_behind_stops_before_it_deletes_anything(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    bucket.delete("0000.png")
    async with open_run(options(bucket.name), settings, "run slow-snail") as run:
        made = await prepare(run)
        await cut(url, "%slow-snail")
        # The listing that the plan was made from is replaced by this one's.
        await sync(settings, bucket.name, limit=1)
        with pytest.raises(SpaceBusy, match=f"Run {run.run_id} lost its connection, and another"):
            await remove_gone(run, made)
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 5


async def test_a_shard_works_only_for_a_run_that_holds_its_index(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    async with open_run(options(bucket.name), settings, "test") as run:
        hold = ShardHold(database, run.options.index, run.run_id, 0)
        await hold.take()
    with pytest.raises(SpaceBusy, match=f"Run {run.run_id} does not hold index"):
        await hold.take()
    await hold.release()


@pytest.mark.usefixtures("unwatched")
async def test_a_shard_stops_for_a_run_whose_index_a_later_run_holds(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    async with open_run(options(bucket.name), settings, "run first") as dead:
        hold = ShardHold(database, dead.options.index, dead.run_id, 0)
        await hold.take()
        await cut(url, "%run first")
        async with open_run(options(bucket.name), settings, "run second"):
            with pytest.raises(SpaceBusy, match=f"Run {dead.run_id} does not hold"):
                await hold.take()
    await hold.release()


async def test_a_shard_has_one_process(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    async with open_run(options(bucket.name), settings, "test") as run:
        first, second = (ShardHold(database, run.options.index, run.run_id, 3) for _ in range(2))
        await first.take()
        with pytest.raises(SpaceBusy, match=f"Shard 3 of run {run.run_id} works already"):
            await second.take()
        await first.release()
        await second.take()
        await second.release()


async def test_a_shard_is_seen_again_soon_after_its_connection_broke(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    async with open_run(options(bucket.name), settings, "test") as run:
        hold = ShardHold(database, run.options.index, run.run_id, 1)
        await hold.take()
        await cut(url, "%shard 1")

        async def is_back() -> bool:
            shown = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%shard 1'"
            return bool(await fetchval(url, shown))

        # Nobody asks for it: a batch may take minutes.
        async with kept(hold):
            await until(is_back)
        await hold.release()


@pytest.mark.usefixtures("unwatched")
async def test_a_shard_waits_a_moment_for_a_run_that_lost_its_connection(
    settings: Settings,
    bucket: LocalBucket,
    database: Database,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_lock, "SECONDS_TO_COME_BACK", 30.0)
    async with open_run(options(bucket.name), settings, "run blinking") as run:
        hold = ShardHold(database, run.options.index, run.run_id, 1)
        await hold.take()
        await cut(url, "%blinking")
        waiting = asyncio.create_task(hold.take())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await run.hold.take()
        await waiting
        await hold.release()


async def test_a_hold_that_was_refused_leaves_no_connection_behind(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    async with open_run(options(bucket.name), settings, "test"):
        refused = IndexHold(database, "image_embeddings", "birdwalk too-late")
        with pytest.raises(SpaceBusy):
            await refused.take()

        async def is_gone() -> bool:
            left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%too-late'"
            return not await fetchval(url, left)

        await until(is_gone)
    assert await execute(url, "SELECT 1") == "SELECT 1"
