"""One run a space: seen by others, lost with its holder, and never had again behind its back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tasks.core.database.connections import Database, open_database
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import SpaceBusy
from tasks.core.loading.build_index import build_index
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.maintenance.prune import prune_contents
from tasks.core.planning.list_images import list_images
from tasks.core.planning.plan_sync import plan_sync
from tasks.core.publishing.publish import publish
from tasks.core.publishing.verify import verify
from tasks.core.runs import space_lock
from tasks.core.runs.lifecycle import attach_run, open_run
from tasks.core.runs.run import Run
from tasks.core.runs.space_lock import SpaceLock, kept, space_key
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import finish, load, options, prepare, sync
from tests.support.waiting import until

CUT = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE $1
"""
RUNS = "SELECT verdict, message FROM birdwalk.runs ORDER BY run_id"


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """An open database."""
    async with open_database(settings) as opened:
        yield opened


async def cut(url: str, name: str) -> None:
    """End the connections whose application name is like this, as a broken network would."""
    assert await fetchval(url, CUT, name) > 0


async def test_two_spaces_of_one_index_are_filled_at_once_and_shown_as_wholes(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(12)
    shown = "SELECT count(*), min(vector_dims(embedding)), max(vector_dims(embedding))"
    small, large = (options(bucket.name, dimension=size, batch_size=5) for size in (128, 256))
    async with open_run(small, settings, "a") as first, open_run(large, settings, "b") as second:
        await prepare(first)
        await prepare(second)
        loaded = await asyncio.gather(load(first), load(second))
        assert [sum(counts.embedded for counts in each) for each in loaded] == [12, 12]
        # Whoever listed later publishes later: readers do not go back in time.
        for run, size in ((first, 128), (second, 256)):
            await finish(run)
            assert await fetch(url, f"{shown} FROM image_embeddings") == [(12, size, size)]
    assert await fetch(url, RUNS) == [("completed", "")] * 2


@pytest.mark.parametrize("prefix", ["", "0001"])
async def test_of_two_runs_on_one_space_the_second_ends_at_once_and_says_who_holds_it(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str, prefix: str
) -> None:
    bucket.put_pictures(6)
    async with open_run(options(bucket.name), settings, "run early-bird") as run:
        await prepare(run)
        said = (
            r"space of index 'image_embeddings' \(.*128 dim.*held by .* \(birdwalk run early-bird"
        )
        async with asyncio.timeout(30):
            with pytest.raises(SpaceBusy, match=said):
                await sync(settings, bucket.name, prefix=prefix)
        assert await fetchval(url, "SELECT count(*) FROM birdwalk.runs") == 1
        # A plan keeps nobody out, and nobody keeps it out.
        async with open_run(options(bucket.name, plan_only=True), settings, "a plan") as plan:
            assert (await prepare(plan)).calls == 6
        assert (await embed_batch(run, 1)).embedded == await model_server.calls() == 6


async def test_a_run_whose_connections_broke_goes_on(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    async with open_run(options(bucket.name), settings, "run broken-wire") as run:
        await prepare(run)
        await cut(url, "%broken-wire")
        assert (await embed_batch(run, 1)).embedded == 3
        await cut(url, "%broken-wire")
        await load(run)
    assert await fetch(url, RUNS) == [("completed", "")]


async def test_a_run_that_lost_its_space_stops_in_the_middle_of_a_batch(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    database: Database,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space_lock, "SECONDS_BETWEEN_BEATS", 0.1)
    bucket.put_pictures(30)
    await model_server.configure(instant=True)
    # Thirty images at this pace are minutes.
    asked = options(bucket.name, batch_size=30, requests_per_minute=30)
    usurper = await database.connect("birdwalk run usurper")

    async def usurp() -> None:
        async def pays() -> bool:
            return await model_server.calls() >= 1

        await until(pays)
        # Waiting for it, it has the lock before the run can have it again.
        lock = "SELECT pg_advisory_lock(hashtextextended($1, 0))"
        waiting = asyncio.create_task(usurper.execute(lock, space_key(asked.space)))
        await until(lambda: waits_for_the_space(url))
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
    assert await model_server.calls() < 30
    ((verdict, message),) = await fetch(url, RUNS)
    assert (verdict, message[:11]) == ("failed", "SpaceBusy: ")
    await usurper.close()


async def waits_for_the_space(url: str) -> bool:
    """Return whether a session waits for an advisory lock."""
    waiting = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'advisory'
    """
    return bool(await fetchval(url, waiting))


@asynccontextmanager
async def asleep(run: Run, url: str) -> AsyncIterator[None]:
    """Let another run have the space in the block, while this one sleeps and does not notice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.lock, "take", asyncio.Event().wait)
        # Only the session that holds the lock: what sleeps keeps its other connections.
        held = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        assert await fetchval(url, f"{held} AND mode = 'ExclusiveLock'")
        yield


STEPS: dict[str, Callable[[Run], Awaitable[object]]] = {
    "list": list_images,
    "plan": plan_sync,
    "insert": lambda run: insert_batch(run, 1, run.counts[1]),
    "publish": publish,
    "prune": prune_contents,
}


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("step", STEPS)
async def test_a_run_that_slept_while_another_had_its_space_writes_nothing(
    settings: Settings, bucket: LocalBucket, url: str, step: str
) -> None:
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    bucket.delete("0000.png")
    bucket.put("late.png", picture(90))
    settings = settings.model_copy(update={"unused_days": 0})

    async with open_run(options(bucket.name), settings, "run sleeper") as run:
        await prepare(run)
        if step in {"publish", "prune"}:
            await load(run)
            await build_index(run)
            await verify(run)
        elif step == "insert":
            await embed_batch(run, 1)
        async with asleep(run, url):
            # In between the bucket changes, and another run shows that.
            bucket.put("later.png", picture(91))
            bucket.put("0001.png", picture(92))
            await sync(settings, bucket.name)
            before = await state_of(url)
            assert max(before[0])[0] == "later.png"
            with pytest.raises(SpaceBusy, match=f"Run {run.run_id} is over"):
                await STEPS[step](run)
            assert await state_of(url) == before
    verdicts = [verdict for verdict, _ in await fetch(url, RUNS)]
    assert verdicts == ["completed", "failed", "completed"]


async def state_of(url: str) -> list[list[tuple[object, ...]]]:
    """Return what readers see, and what later runs build on."""
    return [
        sorted(await fetch(url, question))
        for question in (
            "SELECT image_id, embedding::text FROM image_embeddings",
            "SELECT image_id, generation, content_key FROM birdwalk.images_1",
            "SELECT run_id, image_id, generation FROM birdwalk.listings",
            "SELECT content_key, embedding::text FROM birdwalk.vectors_1",
            "SELECT run_id, batch, content_key FROM birdwalk.work",
            "SELECT space_id, content_key, reason FROM birdwalk.refusals",
            "SELECT space_id, content_key FROM birdwalk.unused_contents",
        )
    ]


@pytest.mark.usefixtures("unwatched")
async def test_a_run_whose_space_another_had_notices_though_it_is_free_again(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    async with open_run(options(bucket.name), settings, "run slow-snail") as run:
        await prepare(run)
        await cut(url, "%slow-snail")
        await sync(settings, bucket.name)
        with pytest.raises(SpaceBusy, match=f"Run {run.run_id} is over: it ended, or it lost"):
            await run.lock.take()


async def test_a_session_that_broke_is_taken_again_though_nobody_asks_for_it(
    settings: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_lock, "SECONDS_BETWEEN_BEATS", 0.05)
    async with open_run(options(bucket.name), settings, "run quiet"):
        sessions = """
        SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND application_name LIKE '%quiet'
        """
        before = await fetchval(url, sessions)
        assert before is not None
        await cut(url, "%quiet")

        async def is_back() -> bool:
            return await fetchval(url, sessions) not in {None, before}

        await until(is_back)


@pytest.mark.usefixtures("unwatched")
async def test_a_worker_waits_a_moment_for_a_run_that_lost_its_connection(
    settings: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_lock, "SECONDS_TO_COME_BACK", 30.0)
    async with open_run(options(bucket.name), settings, "run blinking") as run:
        await prepare_one(run, bucket)
        async with attach_run(run.run_id, settings) as worker:
            await cut(url, "%blinking")
            waiting = asyncio.create_task(worker.lock.take())
            await asyncio.wait([waiting], timeout=0.3)
            assert not waiting.done()
            await run.lock.take()
            await waiting


async def prepare_one(run: Run, bucket: LocalBucket) -> None:
    bucket.put_pictures(1)
    await prepare(run)


@pytest.mark.usefixtures("unwatched")
async def test_a_worker_stops_for_a_run_whose_space_a_later_run_holds(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    async with open_run(options(bucket.name), settings, "run first") as dead:
        await prepare_one(dead, bucket)
        async with attach_run(dead.run_id, settings) as worker:
            await cut(url, "%run first")
            async with open_run(options(bucket.name), settings, "run second"):
                with pytest.raises(SpaceBusy, match=f"Run {dead.run_id} is over"):
                    await worker.lock.take()


async def test_a_lock_that_was_refused_leaves_no_connection_behind(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    async with open_run(options(bucket.name), settings, "test") as run:
        refused = SpaceLock(database, run.options.space, "birdwalk too-late")
        with pytest.raises(SpaceBusy):
            async with kept(refused):
                await refused.take()

        async def is_gone() -> bool:
            left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%too-late'"
            return not await fetchval(url, left)

        await until(is_gone)
    assert await execute(url, "SELECT 1") == "SELECT 1"
