"""The deployments, asked through Prefect's API as its UI does, and run by the worker."""

import asyncio
import contextlib
from datetime import timedelta

import asyncpg
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelling, Crashed

from deployments.automations import NAME, crash_silent_runs, register
from deployments.local.stack import Stack
from tests.acceptance.programs import Program
from tests.support.buckets import LocalBucket
from tests.support.databases import fetch, fetchval
from tests.support.waiting import until

BY_HAND = "embed-images/embed-images"
DAILY = "embed-images/embed-images-daily"
PATIENCE_SECONDS = 150.0
CANCELLED_RUN = "SELECT run_id FROM birdwalk.runs WHERE index_name = 'cancelled'"


@pytest.fixture(params=[BY_HAND, DAILY])
async def deployment(
    request: pytest.FixtureRequest, worker_stack: Stack, prefect_client: PrefectClient
) -> DeploymentResponse:
    """Each registered deployment."""
    assert worker_stack
    return await prefect_client.read_deployment_by_name(request.param)


@pytest.fixture
async def by_hand(worker_stack: Stack, prefect_client: PrefectClient) -> DeploymentResponse:
    """The deployment that people run."""
    assert worker_stack
    return await prefect_client.read_deployment_by_name(BY_HAND)


async def reaching(client: PrefectClient, run: FlowRun, *states: str) -> FlowRun:
    """Wait until a run is in one of the states, which it must not miss by ending elsewhere."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await client.read_flow_run(run.id)
            assert found.state is not None
            if found.state.name in states:
                return found
            assert not found.state.is_final(), found.state
            await asyncio.sleep(0.2)


async def answering(url: str, question: str, rows: list[tuple[object, ...]]) -> None:
    """Wait until the database answers a question with the rows; the table may be yet to come."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(asyncpg.UndefinedTableError):
                if await fetch(url, question) == rows:
                    return
            await asyncio.sleep(0.2)


async def test_a_run_asked_for_through_the_api_fills_the_index(
    worker_stack: Stack, prefect_client: PrefectClient, by_hand: DeploymentResponse
) -> None:
    wanted = {"index": "asked_for", "prefix": "planes/", "requests_per_minute": 60_000}
    run = await prefect_client.create_flow_run_from_deployment(by_hand.id, parameters=wanted)
    run = await reaching(prefect_client, run, "Completed")
    assert run.name == "embed gs://birdwalk/planes/ into asked_for"
    database = worker_stack.addresses.database_url
    rows = await fetchval(database, "SELECT count(*) FROM asked_for WHERE image_id ~ '^planes/'")
    assert rows == await fetchval(database, "SELECT count(*) FROM asked_for") > 0
    asked_by = "SELECT verdict FROM birdwalk.runs WHERE requested_by = $1"
    assert await fetch(database, asked_by, f"run {run.name}") == [("completed",)]
    # What a heartbeat would lead to that arrives late, after its run's end.
    await prefect_client.set_flow_run_state(run.id, Crashed())
    assert (await prefect_client.read_flow_run(run.id)).state_name == "Completed"


async def test_the_automation_for_silent_runs_is_there_once_and_stays_paused(
    worker_stack: Stack, prefect_client: PrefectClient
) -> None:
    assert worker_stack
    wanted = crash_silent_runs(timedelta(seconds=90))
    [found] = await prefect_client.read_automations_by_name(NAME)
    assert found.enabled
    assert await register(prefect_client, wanted) == "was as it should be"
    assert found.id is not None
    await prefect_client.pause_automation(found.id)
    assert await register(prefect_client, crash_silent_runs(timedelta(hours=1))) == "was updated"
    [paused] = await prefect_client.read_automations_by_name(NAME)
    assert (paused.id, paused.enabled) == (found.id, False)
    await prefect_client.resume_automation(found.id)
    assert await register(prefect_client, wanted) == "was updated"


async def shards_of(client: PrefectClient, run_id: int) -> list[FlowRun]:
    """Wait until a run has asked for its two further workers."""
    shard = await client.read_deployment_by_name("embed-shard/embed-shard")
    ours = DeploymentFilter(id=DeploymentFilterId(any_=[shard.id]))
    found: list[FlowRun] = []

    async def both_asked_for() -> bool:
        runs = await client.read_flow_runs(deployment_filter=ours)
        found[:] = [run for run in runs if run.parameters["run_id"] == run_id]
        return len(found) == 2

    await until(both_asked_for, PATIENCE_SECONDS)
    return found


async def test_a_second_run_is_cancelled_and_a_cancelled_one_stops_cleanly(
    worker_stack: Stack,
    prefect_client: PrefectClient,
    by_hand: DeploymentResponse,
    bucket: LocalBucket,
) -> None:
    bucket.put_pictures(40)
    slow = {"bucket": bucket.name, "index": "cancelled", "requests_per_minute": 20, "shards": 3}
    # No other index has such vectors of these pictures, so that there are calls.
    slow["dimension"] = 1408
    first = await prefect_client.create_flow_run_from_deployment(by_hand.id, parameters=slow)
    first = await reaching(prefect_client, first, "Running")
    asked = "SELECT verdict FROM birdwalk.runs WHERE index_name = 'cancelled'"
    database = worker_stack.addresses.database_url
    await answering(database, asked, [("running",)])
    second = await prefect_client.create_flow_run_from_deployment(by_hand.id, parameters=slow)
    await reaching(prefect_client, second, "Cancelled")

    shards = await shards_of(prefect_client, await fetchval(database, CANCELLED_RUN))
    await prefect_client.set_flow_run_state(first.id, Cancelling())
    await reaching(prefect_client, first, "Cancelled")
    assert await fetch(database, asked) == [("cancelled",)]
    # Whether a worker had taken them yet or not.
    for shard in shards:
        await reaching(prefect_client, shard, "Cancelled")


def test_each_deployment_runs_once_at_a_time_and_cancels_a_second(
    deployment: DeploymentResponse,
) -> None:
    assert deployment.global_concurrency_limit is not None
    assert deployment.global_concurrency_limit.limit == 1
    options = deployment.concurrency_options
    assert options is not None
    assert options.collision_strategy == ConcurrencyLimitStrategy.CANCEL_NEW
    assert deployment.work_pool_name == "birdwalk"
    assert deployment.enforce_parameter_schema
    assert deployment.description


async def test_only_the_daily_deployment_has_a_schedule_with_its_time_zone(
    worker_stack: Stack, prefect_client: PrefectClient, by_hand: DeploymentResponse
) -> None:
    assert worker_stack
    daily = await prefect_client.read_deployment_by_name(DAILY)
    [schedule] = daily.schedules
    assert schedule.active
    assert isinstance(schedule.schedule, CronSchedule)
    minute, hour, *days = schedule.schedule.cron.split()
    assert days == ["*", "*", "*"]
    assert minute.isdigit()
    assert hour.isdigit()
    assert schedule.schedule.timezone == "Europe/Berlin"
    assert by_hand.schedules == []


def test_the_form_describes_and_bounds_each_parameter(by_hand: DeploymentResponse) -> None:
    schema = by_hand.parameter_openapi_schema
    assert schema is not None
    assert schema["required"] == ["bucket"]
    fields = schema["properties"]
    for name, field in fields.items():
        assert field.get("description"), f"{name} has no description"
        kinds = field.get("anyOf", [field])
        for kind in kinds:
            if kind["type"] == "integer" and "enum" not in kind:
                assert kind["minimum"] >= 1, f"{name} has no lower bound"
            if kind["type"] == "string" and not {"enum", "const"} & kind.keys():
                assert kind["maxLength"] <= 1024, f"{name} may be of any length"
    assert fields["dimension"]["enum"] == [128, 256, 512, 1408]
    assert (fields["neighbours"]["minimum"], fields["neighbours"]["maximum"]) == (1, 100)


async def test_a_wrong_value_from_a_terminal_is_refused_before_there_is_a_run(
    worker_stack: Stack, prefect_client: PrefectClient, by_hand: DeploymentResponse
) -> None:
    ours = DeploymentFilter(id=DeploymentFilterId(any_=[by_hand.id]))
    before = len(await prefect_client.read_flow_runs(deployment_filter=ours))
    prefect = Program("prefect", worker_stack.addresses.environment())
    finished = await prefect.run("deployment", "run", BY_HAND, "-p", "model=no-such-model")
    assert finished.status != 0
    assert "Validation failed for field 'model'" in finished.out + finished.err
    assert len(await prefect_client.read_flow_runs(deployment_filter=ours)) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dimension", 7),
        ("neighbours", 0),
        ("neighbours", "many"),
        ("model", "no-such-model"),
        ("bucket", ""),
        ("requests_per_minute", 0),
    ],
)
async def test_a_wrong_value_is_refused_before_there_is_a_run(
    prefect_client: PrefectClient, by_hand: DeploymentResponse, name: str, value: object
) -> None:
    ours = DeploymentFilter(id=DeploymentFilterId(any_=[by_hand.id]))
    before = len(await prefect_client.read_flow_runs(deployment_filter=ours))
    with pytest.raises(PrefectHTTPStatusError) as refused:
        await prefect_client.create_flow_run_from_deployment(by_hand.id, parameters={name: value})
    assert refused.value.response.status_code in {409, 422}
    assert f"Validation failed for field '{name}'" in refused.value.response.text
    assert len(await prefect_client.read_flow_runs(deployment_filter=ours)) == before
