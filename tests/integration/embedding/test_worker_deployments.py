"""A run goes on with its shards while Prefect's server is away, and ends when that lasts too long.

The server is a transport that breaks at will below Prefect's own client.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, Crashed, Pending

from tasks import shards
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.embedding.shards import batches_of_shard, live_shards, unfinished_batches
from tasks.core.errors import SpaceBusy, InvalidInput, PrefectUnavailable
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.runs.lifecycle import attach_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.types import SyncPlan
from tasks.shards import embed_in_shards
from tests.support.buckets import LocalBucket
from tests.support.databases import fetchval
from tests.support.sync import prepare
from tests.support.waiting import until

SHARDS = 2
CUT = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE $1
"""


class BreakableServer:
    """Answers as Prefect's server does where shards are started, looked at and ended."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.registered = True
        self.loses_answers = 0
        self.fails_to_record = False
        self.refuses = 0
        self.keys: dict[str, UUID] = {}
        self.states: dict[UUID, State[None]] = {}

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("All connection attempts failed")
        path = request.url.path.removeprefix("/api")
        if self.refuses or path in {"/admin/version", "/csrf-token"}:  # it says nothing of itself
            return httpx.Response(self.refuses or 404)
        if path.startswith("/deployments/name/"):
            if not self.registered:
                return httpx.Response(404)
            found = DeploymentResponse(id=uuid4(), name="x", flow_id=uuid4(), labels={})
            return httpx.Response(200, json=found.model_dump(mode="json"))
        if path.endswith("/create_flow_run"):
            return self._create(request)
        flow_run = UUID(path.split("/")[2])
        return self._record(flow_run) if path.endswith("/set_state") else self._shown(flow_run)

    async def has_started_all(self) -> bool:
        return len(self.states) == SHARDS

    async def was_asked(self, times: int) -> bool:
        """Return whether it was asked that often since this gave True."""
        if self.asked < times:
            return False
        self.asked = 0
        return True

    def _create(self, request: httpx.Request) -> httpx.Response:
        key = httpx.Response(200, content=request.content).json()["idempotency_key"]
        flow_run = self.keys.setdefault(key, uuid4())
        self.states.setdefault(flow_run, Pending())
        if self.loses_answers:
            self.loses_answers -= 1
            raise httpx.ReadError("Connection reset by peer")
        return self._shown(flow_run)

    def _record(self, flow_run: UUID) -> httpx.Response:
        if self.fails_to_record:
            return httpx.Response(500)
        self.states[flow_run] = Completed(name="Ended")
        accepted = {"status": "ACCEPT", "details": {"type": "accept_details"}, "state": None}
        return httpx.Response(201, json=accepted)

    def _shown(self, flow_run: UUID) -> httpx.Response:
        shown = FlowRun(id=flow_run, flow_id=uuid4(), state=self.states[flow_run])
        return httpx.Response(200, json=shown.model_dump(mode="json"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BreakableServer]:
    """The server that shards are started by; nobody waits long for it."""
    server = BreakableServer()
    transport = httpx.MockTransport(server.answer)

    def client() -> PrefectClient:
        return PrefectClient("http://127.0.0.1/api", httpx_settings={"transport": transport})

    monkeypatch.setattr(shards, "get_client", client)
    monkeypatch.setattr(shards, "get_run_logger", lambda: logging.getLogger("outage"))
    monkeypatch.setattr(shards, "SECONDS_BETWEEN_LOOKS", 0.05)
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield server


class Clock:
    """The time by which shards are given up: it passes when a test says so."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the process that looks after the shards."""
    clock = Clock()
    monkeypatch.setattr(shards, "time", clock)
    return clock


@pytest.fixture
async def made(run: Run, bucket: LocalBucket) -> SyncPlan:
    """A plan of four batches."""
    bucket.put_pictures(40)
    return await prepare(run)


async def work(run: Run, settings: Settings, plan: SyncPlan) -> None:
    """Do what the workers do that run the shards."""
    doing = (asyncio.create_task(do_shard(run, settings, plan, n)) for n in range(SHARDS))
    await asyncio.gather(*doing)


async def do_shard(run: Run, settings: Settings, plan: SyncPlan, number: int) -> None:
    async with attach_run(run.run_id, number, SHARDS, settings) as mine:
        for batch in await batches_of_shard(mine, number, SHARDS, plan.calls, plan.batch_size):
            await insert_batch(mine, await embed_batch(mine, batch.number))


@pytest.mark.parametrize("worked", [True, False])
async def test_shards_outlive_an_outage_of_prefect_and_nobody_is_given_up(
    run: Run,
    made: SyncPlan,
    settings: Settings,
    server: BreakableServer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    *,
    worked: bool,
) -> None:
    server.loses_answers = 1
    running = asyncio.create_task(embed_in_shards(run, made, SHARDS))
    await until(server.has_started_all)
    server.asked, server.away = 0, True
    if worked:
        await work(run, settings, made)
    await until(lambda: server.was_asked(5))
    clock.now += shards.SECONDS_TO_START + shards.SECONDS_TO_BE_DEAD
    await until(lambda: server.was_asked(5))
    server.away = False
    # Their ends, or their workers, come a moment later than the server.
    await until(lambda: server.was_asked(5))
    assert {state.name for state in server.states.values()} == {"Pending"}
    assert not running.done()
    if not worked:
        await work(run, settings, made)
    server.states = dict.fromkeys(server.states, Completed())
    await running
    assert {state.name for state in server.states.values()} == {"Completed"}
    assert len(server.keys) == SHARDS
    assert await unfinished_batches(run, made) == ()
    # One for the answer that was lost, one for the outage; more where shards lived on in between,
    # while nobody had to ask for them.
    said = caplog.text.count("Prefect's server does not answer")
    assert said == 2 or (worked and said > 2)


async def test_a_server_that_stays_away_ends_the_run_and_says_what_is_kept(
    run: Run, made: SyncPlan, server: BreakableServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SECONDS_WITHOUT_PREFECT", 0.3)
    running = asyncio.create_task(embed_in_shards(run, made, SHARDS))
    await until(server.has_started_all)
    server.away = True
    with pytest.raises(PrefectUnavailable, match=r"away for 0 minutes \(ConnectError: .*is kept"):
        await running


async def test_a_server_that_refuses_the_run_is_not_taken_for_one_that_is_away(
    run: Run, made: SyncPlan, server: BreakableServer
) -> None:
    running = asyncio.create_task(embed_in_shards(run, made, SHARDS))
    await until(server.has_started_all)
    server.refuses = 401
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        async with asyncio.timeout(30):
            await running


async def test_a_shard_that_lives_is_waited_for_whatever_prefect_calls_it(
    run: Run, made: SyncPlan, settings: Settings, server: BreakableServer
) -> None:
    running = asyncio.create_task(embed_in_shards(run, made, SHARDS))
    await until(server.has_started_all)
    async with attach_run(run.run_id, 0, SHARDS, settings):
        server.states = dict.fromkeys(server.states, Crashed())
        server.asked = 0
        await until(lambda: server.was_asked(1))
        await asyncio.sleep(0.5)
        assert not running.done()
    await running


async def test_a_shard_that_died_is_given_up_though_prefect_does_not_record_it(
    run: Run, made: SyncPlan, server: BreakableServer, clock: Clock
) -> None:
    server.fails_to_record = True
    running = asyncio.create_task(embed_in_shards(run, made, SHARDS))
    await until(server.has_started_all)
    server.asked = 0
    await until(lambda: server.was_asked(4))

    async def ends() -> bool:
        # No worker takes them.
        clock.now += shards.SECONDS_TO_START
        return running.done()

    await until(ends)
    await running
    assert {state.name for state in server.states.values()} == {"Pending"}
    assert await unfinished_batches(run, made) == made.batches


@pytest.mark.usefixtures("unwatched")
async def test_a_living_shard_that_prefect_calls_ended_cannot_come_back_once_it_was_unseen(
    run: Run, made: SyncPlan, settings: Settings, server: BreakableServer, url: str
) -> None:
    running = asyncio.create_task(embed_in_shards(run, made, SHARDS))
    await until(server.has_started_all)

    async def be_cut_off() -> None:
        async with attach_run(run.run_id, 0, SHARDS, settings) as shard:
            server.states = dict.fromkeys(server.states, Crashed())
            await fetchval(url, CUT, "%shard 0")
            await running
            await embed_batch(shard, 1)

    with pytest.raises(SpaceBusy, match="was given up by its run"):
        await be_cut_off()


async def test_an_outage_long_ago_is_no_part_of_one_now(
    run: Run, made: SyncPlan, server: BreakableServer, caplog: pytest.LogCaptureFixture
) -> None:
    running = asyncio.create_task(embed_in_shards(run, made, SHARDS))
    await until(server.has_started_all)
    server.away = True

    async def was_missed() -> bool:
        return "Prefect's server does not answer" in caplog.text

    await until(was_missed)
    looks = 0

    async def all_are_alive(run: Run, count: int) -> frozenset[int]:
        nonlocal looks
        looks += 1
        return frozenset(range(count)) if looks < 4 else await live_shards(run, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.shards.live_shards", all_are_alive)
        caplog.clear()
        # Looks in which nobody had to be asked for, and then the server is missed anew.
        await until(was_missed)
    server.away, server.states = False, dict.fromkeys(server.states, Completed())
    await running


async def test_shards_that_nobody_registered_are_told_how_to_be(
    run: Run, made: SyncPlan, server: BreakableServer
) -> None:
    server.registered = False
    with pytest.raises(InvalidInput, match=r"no deployment embed-shard/.*`prefect deploy --all`"):
        await embed_in_shards(run, made, SHARDS)
