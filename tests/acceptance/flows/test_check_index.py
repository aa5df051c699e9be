"""The check of an index, as its schedule runs it: a drifted index is a failed run."""

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule

from deployments.local.stack import Stack
from tests.acceptance.flows.test_deployments import reaching
from tests.acceptance.recorded import artifact_of
from tests.support.databases import execute, fetchval

CHECK = "check-index/check-index"
INDEX = "checked"
IMAGES = "SELECT 'birdwalk.images_' || index_id FROM birdwalk.indexes WHERE index_name = $1"


@pytest.fixture
async def database(worker_stack: Stack, prefect_client: PrefectClient) -> str:
    """The database of the worker, with an index of the samples' birds."""
    embed = await prefect_client.read_deployment_by_name("embed-images/embed-images")
    wanted = {"index": INDEX, "prefix": "birds/", "requests_per_minute": 60_000}
    run = await prefect_client.create_flow_run_from_deployment(embed.id, parameters=wanted)
    await reaching(prefect_client, run, "Completed")
    return worker_stack.addresses.database_url


async def check(client: PrefectClient, state: str) -> FlowRun:
    """Have the worker check the index; return the run, in the state that it should come to."""
    deployment = await client.read_deployment_by_name(CHECK)
    run = await client.create_flow_run_from_deployment(deployment.id, parameters={"index": INDEX})
    return await reaching(client, run, state)


async def test_a_sound_index_is_a_completed_run_and_a_drifted_one_a_failed_run(
    database: str, prefect_client: PrefectClient
) -> None:
    run = await check(prefect_client, "Completed")
    page = await artifact_of(prefect_client, run.id, "index-health")
    assert run.state is not None
    assert page.description == run.state.message
    images = await fetchval(database, IMAGES, INDEX)
    await execute(database, f"DELETE FROM {images} WHERE image_id ~ 'owl'")  # noqa: S608 - ours
    run = await check(prefect_client, "Failed")
    assert run.state is not None
    assert "2 missing" in (run.state.message or "")
    assert "Run embed-images on gs://birdwalk/birds/" in (run.state.message or "")
    page = await artifact_of(prefect_client, run.id, "index-health")
    assert f"`{INDEX}` is not in order" in str(page.data)


async def test_the_check_has_a_schedule_of_its_own(
    worker_stack: Stack, prefect_client: PrefectClient
) -> None:
    assert worker_stack
    deployment = await prefect_client.read_deployment_by_name(CHECK)
    [schedule] = deployment.schedules
    assert schedule.active
    assert isinstance(schedule.schedule, CronSchedule)
    assert schedule.schedule.timezone == "Europe/Berlin"
