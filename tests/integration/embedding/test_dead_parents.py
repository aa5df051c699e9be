"""Real processes share a run; any of them may be killed."""

import asyncio
import signal

import pytest

from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sharded import STOPPED, start, variables
from tests.support.sync import sync
from tests.support.waiting import until

IMAGES = 80
WORKERS = """
SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND datname = current_database() AND application_name ~ 'worker of run'
"""
LET_GO = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1
    AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')
"""
SEEN = "SELECT image_id, generation, embedding::text FROM image_embeddings ORDER BY image_id"
ROWS = "SELECT (price_usd / 0.0001)::integer, verdict FROM birdwalk.runs ORDER BY run_id"


async def paid_rows(settings: Settings) -> int:
    """Return how many answers are in the CSV parts."""
    parts = settings.data_directory.glob("runs/*/parts/*.csv")
    return sum(part.read_bytes().count(b"\n") for part in parts)


async def test_workers_whose_run_was_killed_stop_and_the_next_run_pays_only_for_the_rest(
    bucket: LocalBucket, settings: Settings, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(IMAGES)
    await model_server.configure(instant=True)
    environment = variables(settings)
    # At this pace its batches take more than a minute.
    parent = await start("run", bucket.name, 60, 10, environment=environment)
    assert parent.stdout is not None
    run_id = int(await parent.stdout.readline())
    workers = [await start("worker", run_id, environment=environment) for _ in range(2)]
    ends = [asyncio.create_task(worker.communicate()) for worker in workers]

    async def both_pay() -> bool:
        assert not any(end.done() for end in ends)
        return await fetchval(url, WORKERS) == 2 and await model_server.answers() >= 4

    await until(both_pay, 60)
    parent.kill()
    await parent.communicate()
    # Long before they would be done.
    async with asyncio.timeout(60):
        await asyncio.wait(ends)
    for worker, end in zip(workers, ends, strict=True):
        said = end.result()[1].decode()
        assert worker.returncode == STOPPED, said
        assert f"SpaceBusy: Run {run_id} does not hold its space" in said
    paid = await model_server.answers()
    assert paid < IMAGES
    # What is paid is kept, the calls that were under way too.
    assert await paid_rows(settings) == paid
    done = await sync(settings, bucket.name)
    assert (done.plan.recovered, done.published.images) == (paid, IMAGES)
    assert await model_server.answers() == IMAGES
    assert await fetch(url, ROWS) == [(paid, "failed"), (IMAGES - paid, "completed")]


@pytest.mark.parametrize("victim", ["worker", "run"])
async def test_killing_any_process_loses_nothing_and_pays_only_for_what_was_in_flight(
    bucket: LocalBucket, settings: Settings, model_server: ModelServer, url: str, victim: str
) -> None:
    bucket.put_pictures(IMAGES)
    await model_server.configure(instant=True, latency_seconds=0.05)
    environment = variables(settings)
    parent = await start("work", bucket.name, 480, 10, environment=environment)
    assert parent.stdout is not None
    run_id = int(await parent.stdout.readline())
    worker = await start("worker", run_id, environment=environment)

    async def both_work() -> bool:
        assert parent.returncode is None
        assert worker.returncode is None
        done = "SELECT count(*) FROM birdwalk.batches WHERE durable"
        return bool(await fetchval(url, WORKERS) == 1 and await fetchval(url, done) >= 2)

    # The worker's first batch waits for its share: those of the run are soon durable.
    await until(both_work, 60)
    if victim == "worker":
        worker.kill()
        await worker.communicate()
        _, said = await parent.communicate()
        assert parent.returncode == 0, said.decode()
    else:
        parent.kill()
        await asyncio.gather(parent.communicate(), worker.communicate())
        assert worker.returncode == STOPPED
        await sync(settings, bucket.name)
    statistics = await model_server.statistics()
    answers = await model_server.answers()
    assert IMAGES <= answers <= IMAGES + statistics.most_in_flight
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == IMAGES
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.vectors_1") == IMAGES
    counted = sum(price for price, _ in await fetch(url, ROWS))
    assert answers - statistics.most_in_flight <= counted <= answers


async def test_a_run_that_was_stopped_while_another_completed_ends_when_it_wakes_and_writes_nothing(
    bucket: LocalBucket, settings: Settings, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(IMAGES)
    await model_server.configure(instant=True)
    sleeper = await start("sync", bucket.name, 120, 10, environment=variables(settings))
    assert sleeper.stdout is not None
    await sleeper.stdout.readline()

    async def a_batch_is_durable() -> bool:
        assert sleeper.returncode is None
        return bool(await fetchval(url, "SELECT count(*) FROM birdwalk.batches WHERE durable"))

    await until(a_batch_is_durable, 60)
    sleeper.send_signal(signal.SIGSTOP)
    try:
        # As when its network was lost: Postgres ends the session that holds its locks.
        assert await fetchval(url, LET_GO, "birdwalk run sharded") > 0
        bucket.delete("0000.png")
        bucket.put("0001.png", picture(900))
        # It does not write its parts: on another disk nobody would wait for them.
        elsewhere = settings.model_copy(update={"data_directory": settings.data_directory / "b"})
        await sync(elsewhere, bucket.name)
        before = await fetch(url, SEEN)
    finally:
        sleeper.send_signal(signal.SIGCONT)
    async with asyncio.timeout(60):
        _, said = await sleeper.communicate()
    assert sleeper.returncode == STOPPED
    assert "SpaceBusy: " in said.decode()
    assert await fetch(url, SEEN) == before
    assert len(before) == IMAGES - 1
    verdicts = [verdict for _, verdict in await fetch(url, ROWS)]
    assert verdicts == ["failed", "completed"]
