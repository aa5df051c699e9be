"""Killed at any instant, the next run finishes the work: nothing lost, doubled, stale or repaid."""

import asyncio
import random
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from prefect.client.orchestration import PrefectClient

from deployments.automations import crash_silent_runs, register
from deployments.local.addresses import PROJECT
from deployments.local.stack import Stack
from tasks.core.errors import DatabaseUnavailable
from tasks.core.loading import build_index
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.acceptance.programs import Program
from tests.support.assessing import Model
from tests.support.attacks import POWER, kill_at_random, kill_in
from tests.support.buckets import LocalBucket
from tests.support.changing import ChangingBucket
from tests.support.databases import (
    fetch,
    fetchval,
    fresh_database,
    postgres_began_anew,
    postgres_began_at,
    secret,
)
from tests.support.driver import start_driver
from tests.support.killable import (
    LATENCY_SECONDS,
    Servers,
    descendants,
    kill_all,
    killable_servers,
    open_to_others,
)
from tests.support.killing import DIMENSION, MOST_LOST, Attack
from tests.support.model_server import ModelServer
from tests.support.moments import MOMENTS, SWITCH
from tests.support.spending import Spending
from tests.support.sync import options
from tests.support.vectors import clustered, fill_space
from tests.support.waiting import until

SEED = 20261123
KILLS = 5
IMAGES = 100
BATCH_SIZE = 10
LONGEST_SECONDS = 1.0
WORKERS_IMAGES = 60
SILENCE = timedelta(seconds=20)
"""Less than between two heartbeats: the run is killed soon after its first."""
INDEXED_ROWS = 5_000
INDEXES = """
SELECT relname, indisvalid FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid AND relname LIKE '%hnsw%'
"""
BUILDERS = "SELECT pid FROM pg_stat_progress_create_index WHERE tuples_done > 0"

TARGETS = {
    "plan": ("postgres",),
    "remove gone": ("backend",),
    "copy a batch": ("backend",),
    "insert a batch": POWER,
    "publish": ("postgres",),
}
"""What is killed in a step; in all others it is the flow."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(
    stack_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Servers]:
    """Servers of these tests' own."""
    directory = Path(tempfile.mkdtemp(prefix="kill-", dir=stack_directory))
    open_to_others(directory)
    async with killable_servers(directory, tmp_path_factory.mktemp("data")) as started:
        yield started


@pytest.fixture
async def attack(servers: Servers, stack: Stack, tmp_path: Path) -> AsyncIterator[Attack]:
    """An attack on an index of this test's own."""
    bucket = LocalBucket(f"killed-{secrets.token_hex(4)}", servers.bucket.client)
    bucket.client.create_bucket(bucket.name)
    async with fresh_database(servers.database_url, "template1") as url:
        ours = {"database_url": secret(url), "data_directory": tmp_path / "data"}
        attacked = replace(
            servers, bucket=bucket, settings=servers.settings.model_copy(update=ours)
        )
        changing = ChangingBucket(bucket, random.Random(f"{SEED} bucket"))  # noqa: S311 - repeatable
        spared = Settings(project=PROJECT, vertex_endpoint=stack.addresses.vertex_endpoint)
        begun = Attack(
            servers=attacked,
            bucket=changing,
            start=start_driver,
            environment={},
            model=Model(spared, changing, DIMENSION),
            spending=Spending(servers.record, changing, MOST_LOST),
            random=random.Random(SEED),  # noqa: S311 - repeatable
            batch_size=BATCH_SIZE,
        )
        print(f"seed {SEED}")  # noqa: T201 - pytest shows it where the test fails
        yield begun
        await begun.close()
        print(begun.story())  # noqa: T201 - same


async def test_kills_at_random_instants_lose_double_and_repay_nothing(attack: Attack) -> None:
    await attack.open(IMAGES)
    await kill_at_random(attack, KILLS, LONGEST_SECONDS)
    await attack.finish()
    assert attack.faults == [], attack.story()
    assert sum(attack.kills.values()) >= KILLS


async def test_a_kill_in_any_step_loses_doubles_and_repays_nothing(attack: Attack) -> None:
    await attack.open(3 * BATCH_SIZE)
    for moment in MOMENTS:
        await kill_in(attack, moment, TARGETS.get(moment.step, ("flow",)))
    await attack.finish()
    await attack.change_dimension(256)
    await kill_in(attack, SWITCH, ("flow",))
    url = attack.servers.database_url
    shown = "SELECT DISTINCT vector_dims(embedding) FROM image_embeddings"
    assert await fetch(url, shown) == [(DIMENSION,)]
    await attack.finish()
    assert await fetch(url, shown) == [(256,)]
    assert attack.faults == [], attack.story()


async def test_an_index_whose_building_was_killed_is_built_by_the_next_attempt(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_index, "ROWS_THAT_PAY", INDEXED_ROWS)
    url, settings = attack.servers.database_url, attack.servers.settings
    async with open_run(options(attack.bucket.bucket.name), settings, "test") as run:
        await fill_space(run, clustered(INDEXED_ROWS, DIMENSION))
        before = await postgres_began_at(url)
        building = asyncio.create_task(build_index.build_index(run))
        at_work: list[int] = []

        async def is_at_work() -> bool:
            assert not building.done(), "it was built before it could be killed"
            at_work[:] = [pid for (pid,) in await fetch(url, BUILDERS)]
            return bool(at_work)

        await until(is_at_work)
        kill_all(at_work)
        with pytest.raises(DatabaseUnavailable):
            await building
        await until(lambda: postgres_began_anew(url, before))
        assert await fetch(url, INDEXES) == []
        assert (await build_index.build_index(run)).built
    assert await fetch(url, INDEXES) == [("vectors_1_hnsw", True)]


@pytest.fixture
async def short_silence(prefect_client: PrefectClient) -> AsyncIterator[None]:
    """The automation takes a run for dead sooner; afterwards as late as it did."""
    await register(prefect_client, crash_silent_runs(SILENCE))
    yield
    await register(prefect_client, crash_silent_runs(timedelta(seconds=90)))


@pytest.mark.usefixtures("short_silence")
async def test_what_a_flow_killed_with_its_worker_had_paid_for_is_recovered(
    worker_stack: Stack,
    prefect_client: PrefectClient,
    bucket: LocalBucket,
    model_server: ModelServer,
) -> None:
    bucket.put_pictures(WORKERS_IMAGES)
    await model_server.configure(instant=True, latency_seconds=LATENCY_SECONDS)
    asked = {"bucket": bucket.name, "index": "worked", "batch_size": 10, "requests_per_minute": 900}
    # No other index has such vectors of these pictures, so that each is asked for.
    asked["dimension"] = 512
    by_hand = await prefect_client.read_deployment_by_name("embed-images/embed-images")
    run = await prefect_client.create_flow_run_from_deployment(by_hand.id, parameters=asked)

    async def some_are_embedded() -> bool:
        return await model_server.answers() >= WORKERS_IMAGES / 3

    await until(some_are_embedded, 150)
    assert worker_stack.supervisor is not None
    worker = worker_stack.supervisor.processes["worker"]
    flows = await descendants([worker.identity.pid])
    assert flows, "the worker ran no flow"
    killing = asyncio.create_task(worker_stack.kill("worker"))
    await asyncio.sleep(0)
    # At once: a flow that outlives its worker is told to end, and says so.
    kill_all(flows)
    await killing
    in_flight = (await model_server.statistics()).most_in_flight
    before = await model_server.answers()
    assert before < WORKERS_IMAGES

    async def is_crashed_and_gave_its_slot_back() -> bool:
        # Nobody is left to say so: the automation does.
        state = (await prefect_client.read_flow_run(run.id)).state
        limit = (await prefect_client.read_deployment(by_hand.id)).global_concurrency_limit
        assert state is not None
        assert limit is not None
        return state.is_crashed() and limit.active_slots == 0

    program = Program("flows.embed_images", worker_stack.addresses.environment())
    options_asked = (f"--{name.replace('_', '-')}={value}" for name, value in asked.items())
    finished, *_ = await asyncio.gather(
        program.run(*options_asked),
        worker_stack.restart("worker"),
        until(is_crashed_and_gave_its_slot_back, 120),
    )
    assert finished.status == 0, finished.err
    assert WORKERS_IMAGES <= await model_server.answers() <= WORKERS_IMAGES + in_flight
    url = worker_stack.addresses.database_url
    assert await fetchval(url, "SELECT count(*) FROM worked") == WORKERS_IMAGES
    runs = "SELECT verdict, message FROM birdwalk.runs WHERE index_name = 'worked' ORDER BY run_id"
    assert await fetch(url, runs) == [("failed", "killed"), ("completed", "")]
