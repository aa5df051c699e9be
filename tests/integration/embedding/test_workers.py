"""Processes share a run's batches by number, are seen alive, and are replaced when they die."""

import asyncio

import pytest

from tasks.core.database.connections import open_database
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.embedding.shards import (
    batches_of_shard,
    count_done,
    give_up_shard,
    live_shards,
    unfinished_batches,
)
from tasks.core.errors import DatabaseUnavailable, SpaceBusy, InvalidInput
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.runs import index_lock
from tasks.core.runs.lifecycle import attach_run, open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import fetch, fetchval, fresh_database, secret
from tests.support.model_server import ModelServer
from tests.support.sync import finish, options, prepare
from tests.support.waiting import until

CUT = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE $1
"""

CUT_WAITING = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = 'relation'
"""


async def do(run: Run, batch: int) -> None:
    """Embed and insert one batch."""
    await insert_batch(run, await embed_batch(run, batch))


async def test_shards_divide_the_batches_among_them_and_skip_what_is_durable(
    run: Run, bucket: LocalBucket
) -> None:
    bucket.put_pictures(45)
    made = await prepare(run)
    shares = [await batches_of_shard(run, shard, 2, made.calls, 10) for shard in range(2)]
    assert [[batch.number for batch in share] for share in shares] == [[1, 3, 5], [2, 4]]
    assert sorted(shares[0] + shares[1], key=lambda batch: batch.number) == list(made.batches)
    await do(run, 3)
    left = await batches_of_shard(run, 0, 2, made.calls, 10)
    assert [batch.number for batch in left] == [1, 5]
    assert [batch.number for batch in await unfinished_batches(run, made)] == [1, 2, 4, 5]
    await count_done(run)
    assert (run.progress.done, run.progress.answers) == (10, 10)


async def test_shards_do_a_run_together_and_each_image_once(
    run: Run, bucket: LocalBucket, settings: Settings, model_server: ModelServer
) -> None:
    bucket.put_pictures(40)
    made = await prepare(run)

    async def shard(number: int) -> None:
        async with attach_run(run.run_id, number, 3, settings) as mine:
            assert mine.limiter.rate == pytest.approx(run.options.requests_per_minute / 60 / 3)
            for batch in await batches_of_shard(mine, number, 3, made.calls, made.batch_size):
                await do(mine, batch.number)

    await asyncio.gather(*(asyncio.create_task(shard(number)) for number in range(3)))
    assert await unfinished_batches(run, made) == ()
    assert (await finish(run)).rows == await model_server.calls() == 40


async def test_a_live_shard_is_seen_and_an_ended_one_is_not(
    run: Run, bucket: LocalBucket, settings: Settings
) -> None:
    bucket.put_pictures(2)
    await prepare(run)
    assert await live_shards(run, 4) == frozenset()
    async with attach_run(run.run_id, 1, 4, settings), attach_run(run.run_id, 3, 4, settings):
        assert await live_shards(run, 4) == {1, 3}
    assert await live_shards(run, 4) == frozenset()


async def test_shards_of_the_same_number_in_two_runs_are_two(
    bucket: LocalBucket, settings: Settings
) -> None:
    bucket.put_pictures(2)
    async with (
        open_run(options(bucket.name, index="one"), settings, "test") as one,
        open_run(options(bucket.name, index="two"), settings, "test") as two,
    ):
        async with attach_run(one.run_id, 0, 1, settings), attach_run(two.run_id, 0, 1, settings):
            assert await live_shards(one, 1) == await live_shards(two, 1) == {0}
        async with attach_run(two.run_id, 0, 1, settings):
            assert await live_shards(one, 1) == frozenset()


async def test_a_shard_whose_run_died_stops_in_the_middle_of_a_batch(
    bucket: LocalBucket,
    settings: Settings,
    model_server: ModelServer,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_lock, "SECONDS_BETWEEN_BEATS", 0.1)
    monkeypatch.setattr(index_lock, "SECONDS_TO_COME_BACK", 0.3)
    bucket.put_pictures(60)
    # Sixty images at this pace are half a minute.
    asked = options(bucket.name, batch_size=60, requests_per_minute=120)
    async with open_run(asked, settings, "run parent") as run:
        await prepare(run)

        async def pays() -> bool:
            return await model_server.calls() >= 2

        async def shard() -> None:
            async with attach_run(run.run_id, 0, 1, settings) as mine:
                await do(mine, 1)

        working = asyncio.create_task(shard())
        await until(pays)
        # As good as dead: it does not take its index again.
        monkeypatch.setattr(run.hold, "take", asyncio.Event().wait)
        assert await fetchval(url, CUT, "%run parent") == 1
        with pytest.raises(SpaceBusy, match=f"Run {run.run_id} does not hold index") as stopped:
            await working
        assert isinstance(stopped.value.__cause__, asyncio.CancelledError)
        calls = await model_server.calls()
        await asyncio.sleep(1.0)
        assert await model_server.calls() == calls < 15


async def test_no_shard_joins_a_run_that_is_over_or_never_was(
    bucket: LocalBucket, settings: Settings
) -> None:
    async with open_run(options(bucket.name), settings, "test") as run:
        pass
    for run_id in (run.run_id, 4711):
        with pytest.raises(InvalidInput, match=f"Run {run_id} is not under way"):
            async with attach_run(run_id, 0, 1, settings):
                pass


@pytest.mark.usefixtures("unwatched")
async def test_a_shard_that_was_given_up_cannot_come_back(
    run: Run, bucket: LocalBucket, settings: Settings, url: str
) -> None:
    bucket.put_pictures(20)
    made = await prepare(run)

    async def be_given_up() -> None:
        async with attach_run(run.run_id, 0, 1, settings) as shard:
            await do(shard, 1)
            assert not await give_up_shard(run, 0)  # it is alive
            assert await fetchval(url, CUT, "%shard 0") == 1
            assert await give_up_shard(run, 0)
            await do(shard, 2)

    with pytest.raises(SpaceBusy, match="was given up by its run"):
        await be_given_up()
    left = await unfinished_batches(run, made)
    assert [batch.number for batch in left] == [2]


@pytest.mark.usefixtures("unwatched")
async def test_a_shard_that_was_given_up_cannot_come_back_where_its_run_was_cut_off_too(
    run: Run, bucket: LocalBucket, settings: Settings, url: str
) -> None:
    bucket.put_pictures(20)
    made = await prepare(run)

    async def be_given_up() -> None:
        async with attach_run(run.run_id, 0, 1, settings) as shard:
            assert await fetchval(url, CUT, "%shard 0") == 1
            assert await give_up_shard(run, 0)
            assert await fetchval(url, CUT, "birdwalk test") == 1
            await do(shard, 1)

    with pytest.raises(SpaceBusy, match="was given up by its run"):
        await be_given_up()
    assert await unfinished_batches(run, made) == made.batches


async def test_a_shard_is_alive_in_its_own_database_alone(
    run: Run, bucket: LocalBucket, settings: Settings, database_server: str
) -> None:
    async with fresh_database(database_server) as other:
        elsewhere = settings.model_copy(update={"database_url": secret(other)})
        async with open_run(options(bucket.name), elsewhere, "test") as twin:
            assert twin.run_id == run.run_id
            async with attach_run(twin.run_id, 1, 2, elsewhere):
                assert await live_shards(twin, 2) == {1}
                assert await live_shards(run, 2) == frozenset()


async def test_a_shard_gives_up_no_shard(run: Run, bucket: LocalBucket, settings: Settings) -> None:
    bucket.put_pictures(1)
    async with attach_run(run.run_id, 0, 2, settings) as shard:
        with pytest.raises(InvalidInput, match="Only the process that holds the index"):
            await give_up_shard(shard, 1)


@pytest.mark.parametrize("dies", [False, True])
async def test_a_batch_whose_shard_was_given_up_while_inserting_is_recorded_once_and_whole(
    run: Run, bucket: LocalBucket, settings: Settings, url: str, *, dies: bool
) -> None:
    bucket.put_pictures(10)
    await prepare(run)
    async with open_database(settings) as database, attach_run(run.run_id, 0, 1, settings) as shard:
        report = await embed_batch(shard, 1)
        async with database.transaction() as connection:
            # The shard's transaction has recorded the batch, and waits to write its rows.
            await connection.execute("LOCK TABLE birdwalk.space_1 IN SHARE MODE")
            given_up = asyncio.create_task(insert_batch(shard, report))
            await until(lambda: waiting_for(url, "relation"))
            taken_over = asyncio.create_task(insert_batch(run, report))
            await until(lambda: waiting_for(url, "transactionid"))
            if dies:
                assert await fetchval(url, CUT_WAITING) == 1
                with pytest.raises(DatabaseUnavailable):
                    await given_up
                await until(lambda: waiting_for(url, "relation"))
        await asyncio.gather(taken_over, given_up, return_exceptions=dies)
    assert await fetch(url, "SELECT batch, embedded FROM birdwalk.batches") == [(1, 10)]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.space_1") == 10


async def waiting_for(url: str, lock: str) -> bool:
    """Return whether a session waits for a lock of this kind."""
    waiting = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = $1
    """
    return bool(await fetchval(url, waiting, lock))
