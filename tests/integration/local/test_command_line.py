"""The stack's command line, in processes of their own: what it leaves when it ends or is killed."""

import asyncio
import os
import shlex
import signal
from pathlib import Path

import httpx
import pytest

from deployments.local.errors import StackError
from deployments.local.processes.http_probe import answers_ok
from deployments.local.processes.leftovers import marked
from deployments.local.processes.state import read_state
from deployments.local.stack import Addresses, running
from tests.support.local_stack import FAST, begin_run, command, options, serves


async def test_a_server_that_ends_by_itself_ends_the_stack(
    state_directory: Path, one_picture: Path
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(one_picture))
    servers = {server.name: server for server in read_state(state_directory).servers}
    os.kill(servers["vertex"].process.pid, signal.SIGKILL)
    _, errors = await asyncio.wait_for(run.communicate(), 60)
    assert run.returncode == 1
    assert "vertex ended by itself with status 137" in errors.decode()
    status, output = await command(state_directory, "status")
    assert status == 3
    assert "vertex ended by itself" in output


async def test_a_server_that_cannot_start_is_named_and_the_others_are_stopped(
    state_directory: Path, one_picture: Path
) -> None:
    async with running(options(state_directory, one_picture)):
        pass
    with (state_directory / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(StackError, match=r"(?s)postgres ended with status .*no_such_setting"):
        async with running(options(state_directory, one_picture)):
            pass
    assert marked(state_directory) == []
    status, output = await command(state_directory, "up", *FAST, "--pictures", str(one_picture))
    assert status == 1
    assert "no_such_setting" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_run_ends_cleanly_when_asked(
    state_directory: Path, one_picture: Path, number: signal.Signals
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(one_picture))
    run.send_signal(number)
    _, errors = await asyncio.wait_for(run.communicate(), 60)
    assert (run.returncode, errors) == (0, b"")
    assert marked(state_directory) == []


async def test_a_killed_supervisor_leaves_nothing_and_the_next_start_works(
    state_directory: Path, one_picture: Path
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(one_picture))
    run.kill()
    await run.communicate()
    async with asyncio.timeout(60):
        while marked(state_directory):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
    assert (await command(state_directory, "status"))[0] == 3
    async with running(options(state_directory, one_picture)) as stack:
        assert await serves(stack.addresses)


async def test_supervisor_and_leashes_killed_together_are_cleaned_up_by_the_next_start(
    state_directory: Path, one_picture: Path
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(one_picture))
    before = read_state(state_directory)
    for server in before.servers:
        os.kill(server.process.pid, signal.SIGSTOP)  # so that they cannot end when told
    run.send_signal(signal.SIGSTOP)
    for server in before.servers:
        os.kill(server.leash.pid, signal.SIGKILL)
    run.kill()
    await run.communicate()
    assert any(server.process.alive() for server in before.servers)
    async with running(options(state_directory, one_picture)) as stack:
        assert await serves(stack.addresses)
        assert not any(server.process.alive() for server in before.servers)


async def test_the_command_line_starts_shows_and_stops_the_stack(
    state_directory: Path, one_picture: Path
) -> None:
    up = ("up", "--no-prefect", "--instant", "--pictures", str(one_picture))
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
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
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
