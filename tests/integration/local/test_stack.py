"""The stack comes up as one, is shared, and leaves nothing behind."""

import asyncio
import stat
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deployments.local.errors import StackError
from deployments.local.prefect import worker
from deployments.local.processes.identity import marked
from deployments.local.processes.state import read_state, state_file
from deployments.local.stack import StackOptions, running
from tasks.core.settings import Settings
from tests.support.local_stack import INSTANT, listens, options, serves
from tests.support.waiting import until


async def test_every_server_answers_and_is_gone_at_the_end(
    state_directory: Path, one_picture: Path
) -> None:
    async with running(options(state_directory, one_picture)) as stack:
        addresses = stack.addresses
        assert await serves(addresses)
        for url in (addresses.database_url, addresses.database_tcp_url):
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT current_database()") == "birdwalk"
            await connection.close()
        assert stat.S_IMODE(state_file(state_directory).stat().st_mode) == 0o600
        assert addresses.prefect_api_url is None
        assert len(marked(state_directory)) == 3
    assert marked(state_directory) == []
    assert not listens(addresses.storage_endpoint)
    assert not read_state(state_directory).servers


async def test_the_settings_find_the_stack_by_its_environment(
    state_directory: Path, one_picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(options(state_directory, one_picture)) as stack:
        for name, value in stack.addresses.environment().items():
            monkeypatch.setenv(name, value)
        settings = Settings()
    assert settings.database_url == SecretStr(stack.addresses.database_url)
    assert settings.storage_endpoint == stack.addresses.storage_endpoint
    assert settings.vertex_endpoint == stack.addresses.vertex_endpoint
    assert settings.project == "birdwalk-local"
    assert settings.data_directory == state_directory / "data"


async def test_a_second_user_shares_the_stack_and_does_not_stop_it(
    state_directory: Path, one_picture: Path
) -> None:
    wanted = options(state_directory, one_picture)
    async with running(wanted) as first:
        async with running(wanted) as second:
            assert second.addresses == first.addresses
            with pytest.raises(StackError, match="Another process started this stack"):
                await second.kill("vertex")
        assert await serves(first.addresses)
        other = StackOptions(state_directory, one_picture, bucket="other", prefect=False)
        with pytest.raises(StackError, match="up with other options"):
            async with running(other):
                pass
        with pytest.raises(StackError, match="up with other options"):
            async with running(StackOptions(state_directory, one_picture, model=INSTANT)):
                pass


async def test_a_killed_server_comes_back_at_its_address(
    state_directory: Path, one_picture: Path
) -> None:
    async with running(options(state_directory, one_picture)) as stack:
        for name in ("vertex", "postgres", "storage"):
            await stack.kill(name)
            await stack.restart(name)
        assert await serves(stack.addresses)
        connection = await asyncpg.connect(stack.addresses.database_url)
        await connection.close()


FLOW = """
from prefect import flow

@flow
def hello():
    import os
    print(os.environ["BIRDWALK_DATABASE_URL"])
"""
DEPLOYMENTS = """
deployments:
- name: manual
  entrypoint: hello.py:hello
  work_pool: {name: birdwalk}
  pull:
  - prefect.deployments.steps.set_working_directory: {directory: "%s"}
- name: daily
  entrypoint: hello.py:hello
  work_pool: {name: birdwalk}
  schedules: [{interval: 86400}]
"""


UNFINISHED = {"SCHEDULED", "PENDING", "RUNNING"}


async def state_of(api: httpx.AsyncClient, run: str) -> str:
    return str((await api.get(run)).json()["state"]["type"])


async def test_prefect_and_its_worker_run_a_deployment_and_schedule_another(
    state_directory: Path, one_picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ROOT", tmp_path)
    (tmp_path / "hello.py").write_text(FLOW)
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS % tmp_path)
    wanted = StackOptions(state_directory, one_picture, model=INSTANT, worker=True)
    async with (
        running(wanted) as stack,
        httpx.AsyncClient(base_url=f"{stack.addresses.prefect_api_url}/", timeout=60) as api,
    ):
        ui = (await api.get(f"{stack.addresses.prefect_ui_url}/ui-settings")).json()
        assert ui["api_url"] == stack.addresses.prefect_api_url
        settings = (await api.get("admin/settings")).json()["server"]
        assert settings["services"]["task_run_recorder"]["read_batch_size"] == 100
        assert settings["services"]["event_persister"]["batch_size"] == 200
        assert settings["analytics_enabled"] is False
        assert settings["ui"]["api_url"] == stack.addresses.prefect_api_url

        deployment = (await api.get("deployments/name/hello/manual")).json()
        created = await api.post(f"deployments/{deployment['id']}/create_flow_run", json={})
        run = f"flow_runs/{created.json()['id']}"
        async with asyncio.timeout(120):
            while await state_of(api, run) in UNFINISHED:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.5)
        assert await state_of(api, run) == "COMPLETED"
        connection = await asyncpg.connect(
            stack.addresses.database_url.replace("/birdwalk?", "/prefect?")
        )
        by_hand = "SELECT count(*) FROM flow_run WHERE NOT auto_scheduled"
        assert await connection.fetchval(by_hand) == 1

        async def the_next_days_are_scheduled() -> bool:
            daily = "SELECT count(*) FROM flow_run WHERE auto_scheduled AND state_id IS NOT NULL"
            return bool(await connection.fetchval(daily) > 0)

        await until(the_next_days_are_scheduled, 90)
        await connection.close()


async def test_the_worker_needs_deployments(
    state_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ROOT", tmp_path)
    wanted = StackOptions(state_directory, worker=True)
    with pytest.raises(StackError, match=r"There is no prefect.yaml in"):
        async with running(wanted):
            pass
