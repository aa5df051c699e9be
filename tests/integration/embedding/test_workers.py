"""Processes claim a run's batches: each batch is one process's, and nobody's death loses any."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from tasks.core import csv_parts
from tasks.core.csv_parts import PartWriter
from tasks.core.database.statements import statements_of
from tasks.core.embedding import work_list
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.embedding.work_list import claim_batches
from tasks.core.errors import RunIsOver, SpaceBusy
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.runs import accounting, lifecycle, space_lock
from tasks.core.runs.lifecycle import attach_run, open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval, fresh_database, secret
from tests.support.model_server import ModelServer
from tests.support.sync import finish, load, options, prepare
from tests.support.waiting import until

CUT = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE $1
"""
OPEN = "SELECT count(*) FROM birdwalk.batches WHERE NOT durable"
WORKER = "birdwalk worker%"

batches = statements_of("tasks.core.runs.batches")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the beats of the processes short."""
    for module in (lifecycle, accounting):
        monkeypatch.setattr(module, "SECONDS_BETWEEN_COUNTS", 0.05)
    for module in (lifecycle, space_lock):
        monkeypatch.setattr(module, "SECONDS_BETWEEN_BEATS", 0.05)
    monkeypatch.setattr(work_list, "SECONDS_BETWEEN_LOOKS", 0.05)


async def do(run: Run, batch: int) -> None:
    """Embed and insert one batch."""
    await insert_batch(run, batch, await embed_batch(run, batch))


async def test_processes_do_a_run_together_each_content_once_at_their_share_of_the_pace(
    run: Run, bucket: LocalBucket, settings: Settings, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(120)
    await model_server.configure(instant=True)
    await prepare(run)
    quota = run.options.requests_per_minute / 60
    entered = asyncio.Barrier(3)

    async def work_along() -> int:
        async with attach_run(run.run_id, settings) as worker:
            await entered.wait()
            await until(lambda: paces(worker, quota / 3))
            return len(await load(worker, 2))

    workers = [asyncio.create_task(work_along()) for _ in range(2)]
    await entered.wait()
    # The run's own process sees that there are more, too.
    await until(lambda: paces(run, quota / 3))
    done = [len(await load(run, 2)), *await asyncio.gather(*workers)]
    assert sum(done) == 12
    await until(lambda: paces(run, quota))
    assert await fetchval(url, OPEN) == 0
    verdict = (await finish(run))[1]
    assert verdict.images == await model_server.answers() == 120


async def paces(run: Run, per_second: float) -> bool:
    return run.limiter.rate == pytest.approx(per_second)


async def test_no_two_processes_ever_have_one_batch(
    run: Run, bucket: LocalBucket, settings: Settings
) -> None:
    bucket.put_pictures(200)
    await prepare(run)
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(attach_run(run.run_id, settings)) for _ in "ab"]

        async def claim_all(one: Run) -> list[int]:
            claimed = []
            while (batch := await one.lock.claim()) is not None:
                claimed.append(batch)
            return claimed

        # One claim is one batch.
        assert [await one.lock.claim() for one in (*workers, run)] == [1, 2, 3]
        taken = await asyncio.gather(*(claim_all(one) for one in (run, *workers)))
        assert sorted(batch for mine in taken for batch in mine) == list(range(4, 21))
        given = 1
        await workers[0].lock.give_back(given)
        assert await claim_all(run) == [given]
    # Whose process has ended has none.
    assert sorted(await claim_all(run)) == sorted({1, 2, *taken[1], *taken[2]} - {given})


async def test_a_batch_that_became_durable_as_it_was_claimed_is_given_back(
    run: Run, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_pictures(20)
    await prepare(run)
    ask = run.lock._lock.ask
    claims = batches("claim_batch")

    async def finish_meanwhile(statement: str, *arguments: object) -> object:
        claimed = await ask(statement, *arguments)
        if statement == claims and claimed == 1:
            # By the process that had it, after the statement began to look.
            await execute(url, "UPDATE birdwalk.batches SET durable = true WHERE batch = 1")
        return claimed

    monkeypatch.setattr(run.lock._lock, "ask", finish_meanwhile)
    assert await run.lock.claim() == 2
    assert run.lock.batches == (2,)


@pytest.mark.usefixtures("unwatched")
async def test_a_session_lost_and_taken_again_keeps_its_batches(
    run: Run, bucket: LocalBucket, settings: Settings, url: str
) -> None:
    bucket.put_pictures(40)
    await prepare(run)
    async with attach_run(run.run_id, settings) as worker:
        assert [await worker.lock.claim(), await worker.lock.claim()] == [1, 2]
        assert await fetchval(url, CUT, WORKER) > 0
        await worker.lock.take()
        assert worker.lock.workers == 2
        # No other process gets them; the claim of the next takes the session again by itself.
        assert await run.lock.claim() == 3
        assert await fetchval(url, CUT, WORKER) > 0
        assert (await anext(claim_batches(worker))).number == 4
        assert await run.lock.claim() is None


async def count_nothing(*_: object) -> None:
    """As in a process that was killed before it could."""


async def test_the_batches_of_a_process_that_died_are_done_by_others_who_pay_for_the_rest_only(
    run: Run, bucket: LocalBucket, settings: Settings, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(40)
    await prepare(run)

    class Died(BaseException):
        """As a kill: nothing of ours runs any more."""

    with suppress(Died), pytest.MonkeyPatch.context() as patch:
        for module in (accounting, lifecycle):
            patch.setattr(module, "count_sent", count_nothing)
        async with attach_run(run.run_id, settings) as worker:
            claiming = claim_batches(worker)
            first, second = await anext(claiming), await anext(claiming)
            await do(worker, first.number)
            await embed_batch(worker, second.number)
            part = worker.part(second.number)
            # It was killed in the midst of an answer's row.
            with part.open("r+b") as file:
                file.truncate(part.stat().st_size - 5)
            raise Died
    done = await load(run)
    assert [counts.recovered for counts in done] == [9, 0, 0]
    assert await fetchval(url, OPEN) == 0
    assert (await finish(run))[1].images == 40
    # One answer was on its way to the disk; what its part shows is counted, and nothing twice.
    assert await model_server.answers() == 41
    paid = "SELECT sum(answers)::integer FROM birdwalk.batches"
    assert await fetchval(url, paid) == 40


async def test_the_runs_own_process_waits_for_the_batches_of_others_and_does_those_of_the_dead(
    run: Run, bucket: LocalBucket, settings: Settings
) -> None:
    bucket.put_pictures(20)
    await prepare(run)
    async with attach_run(run.run_id, settings) as worker:
        claiming = claim_batches(worker)
        await anext(claiming)
        assert await run.lock.claim() == 2
        # A further process waits for nobody.
        async with asyncio.timeout(30):
            assert await anext(claiming, None) is None
        await run.lock.give_back(2)
        working = asyncio.create_task(load(run))

        async def only_the_others_batch_is_left() -> bool:
            return run.progress.done == 10 and run.lock.batches == ()

        await until(only_the_others_batch_is_left)
        assert not working.done()
    assert len(await working) == 2


async def test_a_batch_that_two_processes_do_is_paid_and_recorded_once(
    run: Run,
    bucket: LocalBucket,
    settings: Settings,
    model_server: ModelServer,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(csv_parts, "SECONDS_TO_WAIT", 0.0)
    bucket.put_pictures(10)
    await prepare(run)
    counts = await embed_batch(run, 1)
    async with attach_run(run.run_id, settings) as worker:
        # Who lost its session goes on; who claimed its batch meanwhile waits for its part.
        with PartWriter(run.part(1), run.space.dimension):
            waiting = asyncio.create_task(embed_batch(worker, 1))
            await asyncio.wait([waiting], timeout=0.5)
            assert not waiting.done()
            await insert_batch(run, 1, counts)
        await insert_batch(worker, 1, await waiting)
    # As the first to insert it says: the other found all answers there.
    recorded = "SELECT batch, embedded, recovered, answers FROM birdwalk.batches"
    assert await fetch(url, recorded) == [(1, 10, 0, 10)]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.vectors_1") == 10
    assert await model_server.answers() == 10


async def test_a_worker_whose_run_died_stops_in_the_middle_of_a_batch(
    bucket: LocalBucket,
    settings: Settings,
    model_server: ModelServer,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space_lock, "SECONDS_TO_COME_BACK", 0.3)
    bucket.put_pictures(30)
    await model_server.configure(instant=True)
    # Thirty images at this pace are minutes.
    asked = options(bucket.name, batch_size=30, requests_per_minute=30)
    async with open_run(asked, settings, "run parent") as run:
        await prepare(run)

        async def pays() -> bool:
            return await model_server.calls() >= 1

        async def work_along() -> None:
            async with attach_run(run.run_id, settings) as worker:
                await load(worker)

        working = asyncio.create_task(work_along())
        await until(pays)
        # As good as dead: it does not take its space again.
        monkeypatch.setattr(run.lock, "take", asyncio.Event().wait)
        assert await fetchval(url, CUT, "%run parent") > 0
        with pytest.raises(SpaceBusy, match=f"Run {run.run_id} does not hold its space") as stopped:
            await working
        assert isinstance(stopped.value.__cause__, asyncio.CancelledError)
        assert await model_server.calls() < 30


async def test_nobody_works_for_a_run_that_is_over_or_never_was(
    bucket: LocalBucket, settings: Settings
) -> None:
    async with open_run(options(bucket.name), settings, "test") as run:
        pass
    for run_id in (run.run_id, 4711):
        with pytest.raises(RunIsOver, match=f"Run {run_id} is not under way"):
            async with attach_run(run_id, settings):
                pass


async def test_the_workers_of_another_run_or_database_are_not_counted(
    run: Run, bucket: LocalBucket, settings: Settings, database_server: str
) -> None:
    bucket.put_pictures(2)
    await prepare(run)
    async with fresh_database(database_server) as other, AsyncExitStack() as stack:
        elsewhere = settings.model_copy(update={"database_url": secret(other)})
        for where, index in ((elsewhere, run.options.index), (settings, "another")):
            asked = options(bucket.name, index=index)
            twin = await stack.enter_async_context(open_run(asked, where, "test"))
            await prepare(twin)
            await stack.enter_async_context(attach_run(twin.run_id, where))
            await twin.lock.take()
            assert twin.lock.workers == 2
        await run.lock.take()
        assert run.lock.workers == 1
