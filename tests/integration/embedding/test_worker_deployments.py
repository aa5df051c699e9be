"""A run starts its workers through Prefect, goes on without that server, and leaves none behind.

The server is a transport that breaks at will below Prefect's own client.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, Pending

from tasks import shards
from tasks.core.errors import ArtifactError, InvalidInput
from tasks.core.runs.run import Run
from tasks.core.types import SyncPlan
from tests.support.buckets import LocalBucket
from tests.support.sync import prepare

SHARDS = 3


class BreakableServer:
    """Answers as Prefect's server does where workers are started, looked at and ended."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.registered = True
        self.loses_answers = 0
        self.created: dict[str, UUID] = {}
        self.parameters: list[dict[str, int]] = []
        self.states: dict[UUID, State[None]] = {}
        self.set_states: list[str] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("All connection attempts failed")
        path = request.url.path.removeprefix("/api")
        if path in {"/admin/version", "/csrf-token"}:  # it says nothing of itself
            return httpx.Response(404)
        if path.startswith("/deployments/name/"):
            if not self.registered:
                return httpx.Response(404)
            found = DeploymentResponse(id=uuid4(), name="x", flow_id=uuid4(), labels={})
            return httpx.Response(200, json=found.model_dump(mode="json"))
        if path.endswith("/create_flow_run"):
            return self._create(request)
        flow_run = UUID(path.split("/")[2])
        return self._set(flow_run, request) if path.endswith("/set_state") else self._show(flow_run)

    def _create(self, request: httpx.Request) -> httpx.Response:
        asked = httpx.Response(200, content=request.content).json()
        flow_run = self.created.setdefault(asked["idempotency_key"], uuid4())
        if flow_run not in self.states:
            self.parameters.append(asked["parameters"])
            self.states[flow_run] = Pending()
        if self.loses_answers:
            self.loses_answers -= 1
            raise httpx.ReadError("Connection reset by peer")
        return self._show(flow_run)

    def _set(self, flow_run: UUID, request: httpx.Request) -> httpx.Response:
        asked = httpx.Response(200, content=request.content).json()
        kind = StateType(asked["state"]["type"])
        self.set_states.append(f"{kind.value}{' by force' if asked['force'] else ''}")
        self.states[flow_run] = State(type=kind)
        accepted = {"status": "ACCEPT", "details": {"type": "accept_details"}, "state": None}
        return httpx.Response(201, json=accepted)

    def _show(self, flow_run: UUID) -> httpx.Response:
        shown = FlowRun(id=flow_run, flow_id=uuid4(), state=self.states[flow_run])
        return httpx.Response(200, json=shown.model_dump(mode="json"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BreakableServer]:
    """The server that workers are started by; nobody waits for it."""
    server = BreakableServer()
    transport = httpx.MockTransport(server.answer)

    def client() -> PrefectClient:
        return PrefectClient("http://127.0.0.1/api", httpx_settings={"transport": transport})

    monkeypatch.setattr(shards, "get_client", client)
    monkeypatch.setattr(shards, "get_run_logger", lambda: logging.getLogger("outage"))
    monkeypatch.setattr(shards, "SECONDS_TO_FINISH", 0.0)
    monkeypatch.setattr(shards, "SECONDS_TO_END", 0.0)
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield server


@pytest.fixture
async def made(run: Run, bucket: LocalBucket) -> SyncPlan:
    """A plan of two batches."""
    bucket.put_pictures(20)
    return await prepare(run)


async def test_each_further_process_is_started_once_and_those_that_ended_are_left_as_they_are(
    run: Run, made: SyncPlan, server: BreakableServer
) -> None:
    async with shards.workers(run, made, SHARDS):
        assert server.parameters == [{"run_id": run.run_id, "shard": 2 + n} for n in range(2)]
        server.states = dict.fromkeys(server.states, Completed())
    assert server.set_states == []


async def test_a_process_that_does_not_end_is_told_to_and_then_called_ended(
    run: Run, made: SyncPlan, server: BreakableServer
) -> None:
    async with shards.workers(run, made, SHARDS):
        first = next(iter(server.states))
        server.states[first] = Completed()
    assert server.set_states == ["CANCELLING", "CANCELLED by force"]


async def test_a_run_that_fails_ends_its_processes_at_once(
    run: Run, made: SyncPlan, server: BreakableServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who waited so long would be found out by the test's own time.
    monkeypatch.setattr(shards, "SECONDS_TO_FINISH", 3600.0)
    with pytest.raises(ArtifactError, match="its disk is full"):
        async with shards.workers(run, made, SHARDS):
            raise ArtifactError("its disk is full")
    assert server.set_states == ["CANCELLING"] * 2 + ["CANCELLED by force"] * 2


@pytest.mark.parametrize("when", ["at the start", "at the end"])
async def test_a_server_that_is_away_keeps_no_run_from_its_work(
    run: Run,
    made: SyncPlan,
    server: BreakableServer,
    caplog: pytest.LogCaptureFixture,
    when: str,
) -> None:
    server.away = when == "at the start"
    async with shards.workers(run, made, SHARDS):
        server.away = True
    said = {
        "at the start": "Shard 3 was not started; the run goes on: All connection attempts failed",
        "at the end": "Shards end by themselves; Prefect did not end them: All connection",
    }
    assert said[when] in caplog.text


async def test_an_answer_that_was_lost_starts_no_process_twice(
    run: Run, made: SyncPlan, server: BreakableServer
) -> None:
    server.loses_answers = 1
    for _ in range(2):  # as where the flow's process asks again
        async with shards.workers(run, made, SHARDS):
            pass
    assert [one["shard"] for one in server.parameters] == [2, 3]


async def test_a_deployment_that_nobody_registered_is_named_with_the_remedy(
    run: Run, made: SyncPlan, server: BreakableServer
) -> None:
    server.registered = False
    with pytest.raises(InvalidInput, match=r"no deployment embed-shard/.*`prefect deploy --all`"):
        async with shards.workers(run, made, SHARDS):
            pytest.fail("it went on")


async def test_one_process_and_a_plan_without_calls_ask_nothing_of_prefect(
    run: Run, made: SyncPlan, server: BreakableServer
) -> None:
    nothing = replace(made, changes=())
    async with shards.workers(run, made, 1), shards.workers(run, nothing, SHARDS):
        pass
    assert server.asked == 0
