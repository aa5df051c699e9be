"""The stack comes up as one, is shared, and leaves nothing behind."""

import asyncio
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deployments.local import worker
from deployments.local.http_probe import answers_ok
from deployments.local.leftovers import marked
from deployments.local.stack import Addresses, StackOptions, running
from deployments.local.state import read_state, state_file
from deployments.local.vertex_options import ModelServerOptions
from tasks.core.errors import StackError
from tasks.core.settings import Settings

ROOT = Path(__file__).parents[2]
INSTANT = ModelServerOptions(instant=True)
FAST = ("--no-prefect", "--no-gallery", "--instant")


@pytest.fixture
def state_directory() -> Iterator[Path]:
    """A state directory to be made, in a place that everybody may pass through."""
    parent = Path(tempfile.mkdtemp(prefix="birdwalk-test-")).resolve()
    parent.chmod(0o755)
    directory = parent / "the stack"
    yield directory
    assert marked(directory) == []
    shutil.rmtree(parent)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    (folder / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def options(state_directory: Path, pictures: Path) -> StackOptions:
    return StackOptions(state_directory, pictures, model=INSTANT, prefect=False)


async def command(directory: Path, *arguments: str) -> tuple[int, str]:
    """Run the stack's command line; return its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deployments.local", *arguments),
        *("--state-directory", str(directory)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def begin_run(directory: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Start `run` in the foreground of a process of its own, and wait until it is up."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deployments.local", "run", *arguments),
        *("--state-directory", str(directory)),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        while not read_state(directory).up:
            assert process.returncode is None
            await asyncio.sleep(0.05)
    return process


def port_of(endpoint: str | None) -> int:
    return httpx.URL(endpoint or "").port or 0


def listens(endpoint: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port_of(endpoint))) == 0


async def serves(addresses: Addresses) -> bool:
    bucket = await answers_ok(f"{addresses.storage_endpoint}/storage/v1/b/birdwalk/o")
    return bucket and listens(addresses.vertex_endpoint)


async def test_every_server_answers_and_is_gone_at_the_end(
    state_directory: Path, pictures: Path
) -> None:
    async with running(options(state_directory, pictures)) as stack:
        addresses = stack.addresses
        assert await serves(addresses)
        for url in (addresses.database_url, addresses.database_tcp_url):
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT current_database()") == "birdwalk"
            await connection.close()
        assert stat.S_IMODE(state_file(state_directory).stat().st_mode) == 0o600
        assert addresses.prefect_api_url is None
        assert len(marked(state_directory)) == (6 if sys.platform == "linux" else 0)
    assert marked(state_directory) == []
    assert not listens(addresses.storage_endpoint)
    assert not read_state(state_directory).servers


async def test_the_settings_find_the_stack_by_its_environment(
    state_directory: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(options(state_directory, pictures)) as stack:
        for name, value in stack.addresses.environment().items():
            monkeypatch.setenv(name, value)
        settings = Settings()
    assert settings.database_url == SecretStr(stack.addresses.database_url)
    assert settings.storage_endpoint == stack.addresses.storage_endpoint
    assert settings.vertex_endpoint == stack.addresses.vertex_endpoint
    assert settings.project == "birdwalk-local"
    assert settings.data_directory == state_directory / "data"


async def test_a_second_user_shares_the_stack_and_does_not_stop_it(
    state_directory: Path, pictures: Path
) -> None:
    wanted = options(state_directory, pictures)
    async with running(wanted) as first:
        async with running(wanted) as second:
            assert second.addresses == first.addresses
            with pytest.raises(StackError, match="Another process started this stack"):
                await second.kill("vertex")
        assert await serves(first.addresses)
        other = StackOptions(state_directory, pictures, bucket="other", prefect=False)
        with pytest.raises(StackError, match="up with other options"):
            async with running(other):
                pass
        with pytest.raises(StackError, match="up with other options"):
            async with running(StackOptions(state_directory, pictures, model=INSTANT)):
                pass


async def test_a_killed_server_comes_back_at_its_address(
    state_directory: Path, pictures: Path
) -> None:
    async with running(options(state_directory, pictures)) as stack:
        for name in ("vertex", "postgres", "storage"):
            await stack.kill(name)
            await stack.restart(name)
        assert await serves(stack.addresses)
        connection = await asyncpg.connect(stack.addresses.database_url)
        await connection.close()


async def test_a_server_that_ends_by_itself_ends_the_stack(
    state_directory: Path, pictures: Path
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(pictures))
    servers = {server.name: server for server in read_state(state_directory).servers}
    os.kill(servers["vertex"].process.pid, signal.SIGKILL)
    _, errors = await asyncio.wait_for(run.communicate(), 60)
    assert run.returncode == 1
    assert "vertex ended by itself with status 137" in errors.decode()
    status, output = await command(state_directory, "status")
    assert status == 3
    assert "vertex ended by itself" in output


async def test_a_server_that_cannot_start_is_named_and_the_others_are_stopped(
    state_directory: Path, pictures: Path
) -> None:
    async with running(options(state_directory, pictures)):
        pass
    with (state_directory / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(StackError, match=r"(?s)postgres ended with status .*no_such_setting"):
        async with running(options(state_directory, pictures)):
            pass
    assert marked(state_directory) == []
    status, output = await command(state_directory, "up", *FAST, "--pictures", str(pictures))
    assert status == 1
    assert "no_such_setting" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_run_ends_cleanly_when_asked(
    state_directory: Path, pictures: Path, number: signal.Signals
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(pictures))
    run.send_signal(number)
    _, errors = await asyncio.wait_for(run.communicate(), 60)
    assert (run.returncode, errors) == (0, b"")
    assert marked(state_directory) == []


async def test_a_killed_supervisor_leaves_nothing_and_the_next_start_works(
    state_directory: Path, pictures: Path
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(pictures))
    run.kill()
    await run.communicate()
    async with asyncio.timeout(60):
        while marked(state_directory):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
    assert (await command(state_directory, "status"))[0] == 3
    async with running(options(state_directory, pictures)) as stack:
        assert await serves(stack.addresses)


async def test_supervisor_and_leashes_killed_together_are_cleaned_up_by_the_next_start(
    state_directory: Path, pictures: Path
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(pictures))
    before = read_state(state_directory)
    for server in before.servers:
        os.kill(server.process.pid, signal.SIGSTOP)  # so that they cannot end when told
    run.send_signal(signal.SIGSTOP)
    for server in before.servers:
        os.kill(server.leash.pid, signal.SIGKILL)
    run.kill()
    await run.communicate()
    assert any(server.process.alive() for server in before.servers)
    async with running(options(state_directory, pictures)) as stack:
        assert await serves(stack.addresses)
        assert not any(server.process.alive() for server in before.servers)


async def test_the_command_line_starts_shows_and_stops_the_stack(
    state_directory: Path, pictures: Path
) -> None:
    up = ("up", "--no-prefect", "--instant", "--pictures", str(pictures))
    assert (await command(state_directory, "status"))[0] == 3
    assert (await command(state_directory, "env"))[0] == 1

    starts = await asyncio.gather(*(command(state_directory, *up) for _ in range(3)))
    assert [status for status, _ in starts] == [0, 0, 0]
    try:
        addresses = Addresses.of(read_state(state_directory))
        supervisor = read_state(state_directory).supervisor
        assert await serves(addresses)
        status, output = await command(state_directory, *up)
        assert (status, "already up" in output) == (0, True)
        assert read_state(state_directory).supervisor == supervisor
        status, output = await command(state_directory, "status")
        assert status == 0
        assert output.count("alive") == 4
        assert f"{addresses.gallery_url}\n" in output
        assert await answers_ok(f"{addresses.gallery_url}/health")
        # Nothing is embedded yet: the page says so, and the stack is whole all the same.
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{addresses.gallery_url}/api/images")
        assert "holds no index yet. Run embed-images" in answer.json()["error"]
        assert addresses.vertex_endpoint in output
        assert (read_state(state_directory).password or "?") not in output
        _, output = await command(state_directory, "env")
        line = f"export BIRDWALK_DATABASE_URL={shlex.quote(addresses.database_url)}\n"
        assert line in output
        assert (await command(state_directory, "up", "--no-prefect"))[0] == 1
    finally:
        status, output = await command(state_directory, "down")
    assert (status, output) == (0, "The local stack is down.\n")
    assert marked(state_directory) == []
    assert await command(state_directory, "down") == (0, "The local stack was not up.\n")

    await command(state_directory, *up)
    assert Addresses.of(read_state(state_directory)) == addresses  # ports and password are kept
    await command(state_directory, "down")


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
"""


UNFINISHED = {"SCHEDULED", "PENDING", "RUNNING"}


async def state_of(api: httpx.AsyncClient, run: str) -> str:
    return str((await api.get(run)).json()["state"]["type"])


async def test_prefect_and_its_worker_run_a_deployment(
    state_directory: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ROOT", tmp_path)
    (tmp_path / "hello.py").write_text(FLOW)
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS % tmp_path)
    wanted = StackOptions(state_directory, pictures, model=INSTANT, worker=True)
    async with (
        running(wanted) as stack,
        httpx.AsyncClient(base_url=f"{stack.addresses.prefect_api_url}/") as api,
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
        assert await connection.fetchval("SELECT count(*) FROM flow_run") == 1
        await connection.close()


async def test_the_worker_needs_deployments(
    state_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ROOT", tmp_path)
    wanted = StackOptions(state_directory, worker=True)
    with pytest.raises(StackError, match=r"There is no prefect.yaml in"):
        async with running(wanted):
            pass
