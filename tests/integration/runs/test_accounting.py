"""The prices of all runs add up to what the model server answered, however they ended."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.client.schemas.objects import State

from flows import embed_shard
from tasks.core.csv_parts import read_part
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.embedding.work_list import claim_batches
from tasks.core.errors import InvalidInput
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.runs import accounting, lifecycle
from tasks.core.runs.lifecycle import attach_run, open_run
from tasks.core.runs.run import current_run
from tasks.core.runs.summary import summarise
from tasks.core.settings import Settings
from tasks.core.types import Batch, Counts
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.driver import Driver, start_driver
from tests.support.model_server import ModelServer
from tests.support.sharded import kill, start, until_nothing_is_held, variables
from tests.support.sync import carry_out, options, prepare, sync
from tests.support.waiting import until

RUNS = """
SELECT verdict, embedded, calls, (price_usd / 0.0001)::integer FROM birdwalk.runs ORDER BY run_id
"""
PAID = "SELECT (sum(price_usd) / 0.0001)::integer FROM birdwalk.runs"
SENT = "SELECT sum(calls)::integer FROM birdwalk.runs"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that joins a run not wait for the others to see it."""
    for name in ("SECONDS_BETWEEN_BEATS", "SECONDS_BETWEEN_COUNTS"):
        monkeypatch.setattr(lifecycle, name, 0.0)


async def test_a_cancelled_run_has_paid_for_batches_that_never_became_durable(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(12)
    with suppress(asyncio.CancelledError):
        async with open_run(options(bucket.name, batch_size=5), settings, "test") as run:
            await prepare(run)
            await insert_batch(run, 1, await embed_batch(run, 1))
            await embed_batch(run, 2)
            totals = (await summarise(run)).totals
            assert (totals.images, totals.calls, totals.answers) == (5, 10, 10)
            raise asyncio.CancelledError
    assert await fetch(url, RUNS) == [("cancelled", 5, 10, 10)]
    synced = await sync(settings, bucket.name)
    assert synced.plan.recovered == 5
    # What is recovered was embedded and paid for by the run that died.
    assert await fetch(url, RUNS) == [("cancelled", 10, 10, 10), ("completed", 2, 2, 2)]
    assert await fetchval(url, PAID) == await model_server.answers() == 12


async def test_answers_about_versions_that_were_overwritten_are_paid_for_and_counted(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        bucket.put("0000.png", picture(90))
        bucket.put("0001.png", b"no picture")
        await carry_out(run, made)
    # A refusal is a call that costs nothing.
    assert await fetch(url, RUNS) == [("completed", 2, 4, 3)]
    assert await model_server.answers() == 3


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("ends", ["killed", "failed"])
async def test_what_a_worker_had_sent_counts_for_its_run_wherever_it_worked(  # noqa: PLR0913 - fixtures
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
    *,
    elsewhere: bool,
) -> None:
    monkeypatch.setattr(accounting, "SECONDS_BETWEEN_COUNTS", 0.01)
    bucket.put_pictures(20)
    there = settings
    if elsewhere:
        there = settings.model_copy(update={"data_directory": tmp_path / "elsewhere"})

    async def is_counted() -> bool:
        return bool(await fetchval(url, "SELECT sum(answers) FROM birdwalk.batches") == 10)

    async with open_run(options(bucket.name, batch_size=10), settings, "test") as run:
        made = await prepare(run)
        with suppress(InvalidInput):
            async with attach_run(run.run_id, there) as worker:
                await embed_batch(worker, (await anext(claim_batches(worker))).number)
                if ends == "killed":
                    await until(is_counted)
                    # It does nothing more.
                    for module in (accounting, lifecycle):
                        monkeypatch.setattr(module, "count_sent", never)
                raise InvalidInput("its disk is full")
        assert await is_counted()
        monkeypatch.undo()
        if ends == "failed":
            # Its run may be over by then, and sums up nothing any more.
            assert await fetchval(url, PAID) == 10
        await carry_out(run, made)
    sent = 30 if elsewhere else 20
    assert await fetch(url, RUNS) == [("completed", 20, sent, sent)]
    assert await model_server.answers() == sent


async def test_the_flow_of_a_worker_that_fails_leaves_what_it_had_sent_in_the_ledger(
    settings: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def embed(batch: Batch) -> Counts:
        return await embed_batch(current_run(), batch.number)

    async def fail(_batch: Batch, _counts: Counts) -> None:
        raise InvalidInput("its disk is full")

    # Its tasks without Prefect, of which nothing depends here.
    monkeypatch.setattr(embed_shard, "embed_batch", embed)
    monkeypatch.setattr(embed_shard, "insert_batch", fail)
    monkeypatch.setattr(embed_shard, "get_settings", lambda: settings)
    bucket.put_pictures(10)
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        with pytest.raises(InvalidInput, match="its disk is full"):
            await embed_shard.embed_shard.fn(run_id=run.run_id, shard=2)
        assert await fetch(url, "SELECT durable, answers FROM birdwalk.batches") == [(False, 10)]


async def test_the_flow_of_a_worker_whose_run_is_over_is_cancelled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_shard, "get_settings", lambda: settings)
    state = await embed_shard.embed_shard.fn(run_id=4711, shard=2)
    assert isinstance(state, State)
    assert state.is_cancelled()
    assert state.message is not None
    assert state.message.startswith("Run 4711 is not under way")


async def test_a_dead_run_is_closed_with_what_its_workers_on_other_disks_had_sent(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    url: str,
    tmp_path: Path,
) -> None:
    bucket.put_pictures(20)
    elsewhere = settings.model_copy(update={"data_directory": tmp_path / "elsewhere"})
    process = await start("run", bucket.name, 60_000, 10, environment=variables(settings))
    assert process.stdout is not None
    run_id = int(await process.stdout.readline())
    async with attach_run(run_id, elsewhere) as worker:
        await embed_batch(worker, 1)
    await kill(process, url)
    await sync(settings, bucket.name)
    assert await fetch(url, RUNS) == [("failed", 0, 10, 10), ("completed", 20, 20, 20)]
    # Where that disk is looked at later, its answers are loaded, and counted no second time.
    await sync(elsewhere, bucket.name)
    assert await fetch(url, RUNS) == [
        ("failed", 0, 10, 10),
        ("completed", 20, 20, 20),
        ("completed", 0, 0, 0),
    ]
    assert await model_server.answers() == 30


async def never(*_: object) -> None:
    """Count nothing."""


async def is_over(process: Driver) -> bool:
    return process.poll() is not None


async def test_a_killed_run_counts_what_it_had_got_once_and_loads_it_for_nothing(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    url: str,
    tmp_path: Path,
) -> None:
    bucket.put_pictures(40)
    await model_server.configure(latency_seconds=0.1, instant=True)
    # 20 images a second.
    process = start_driver(
        {"bucket": bucket.name, "requests_per_minute": 1200, "batch_size": 8},
        variables(settings),
        tmp_path / "log",
    )

    async def a_batch_is_durable() -> bool:
        return bool(await fetchval(url, "SELECT count(*) FROM birdwalk.batches WHERE durable"))

    await until(a_batch_is_durable, 120)
    process.kill()
    await until(lambda: is_over(process), 60)
    await until_nothing_is_held(url)
    await model_server.configure(instant=True)
    # One that it had paid for is of no use any more: paid it was.
    paid_for = sorted(
        name
        for part in settings.data_directory.glob("runs/*/parts/*.csv")
        for name in read_part(part, 128)
    )
    bucket.put(paid_for[0], picture(5_000))
    # A run of another space counts it too, and must not count it twice.
    await sync(settings, bucket.name, dimension=256)
    await sync(settings, bucket.name)
    (killed, *others) = await fetch(url, RUNS)
    assert killed[0] == "failed"
    assert killed[1] <= killed[2] == killed[3]
    assert [sent for _, _, sent, _ in others] == [paid for *_, paid in others]
    statistics = await model_server.statistics()
    in_flight = await model_server.answers() - await fetchval(url, PAID)
    assert 0 <= in_flight <= statistics.most_in_flight
    # All that the killed run got is counted, and nothing of it was asked again but for the one.
    assert others[-1][3] == 40 - killed[3] + 1
    assert await fetchval(url, SENT) == await fetchval(url, PAID)
