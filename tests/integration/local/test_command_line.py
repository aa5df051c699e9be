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
from deployments.local.processes.identity import marked
from deployments.local.processes.state import read_state
from deployments.local.stack import Addresses, running
from tests.support.local_stack import FAST, begin_run, command, guard_of, options, serves
from tests.support.sleepers import until


async def test_a_server_that_ends_by_itself_ends_the_stack(
    state_directory: Path, one_picture: Path
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(one_picture))
    servers = {server.name: server for server in read_state(state_directory).servers}
    os.kill(servers["vertex"].process.pid, signal.SIGKILL)
    _, errors = await asyncio.wait_for(run.communicate(), 60)
    assert run.returncode == 1
    assert "vertex ended by itself with status -9" in errors.decode()
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
    os.killpg(run.pid, number)  # as Ctrl-C in a terminal does
    _, errors = await asyncio.wait_for(run.communicate(), 60)
    assert (run.returncode, errors) == (0, b"")
    assert marked(state_directory) == []


async def kill(run: asyncio.subprocess.Process) -> None:
    run.kill()
    await run.communicate()


@pytest.mark.parametrize("then", ["start", "down"])
async def test_a_killed_supervisor_leaves_nothing(
    state_directory: Path, one_picture: Path, then: str
) -> None:
    await kill(await begin_run(state_directory, *FAST, "--pictures", str(one_picture)))
    if then == "start":
        await until(lambda: not marked(state_directory))
        assert (await command(state_directory, "status"))[0] == 3
        async with running(options(state_directory, one_picture)) as stack:
            assert await serves(stack.addresses)
    else:  # at once, and so beside the guard
        assert (await command(state_directory, "down"))[0] == 0
    assert marked(state_directory) == []


async def test_a_stack_that_starts_right_after_a_kill_keeps_its_servers(
    state_directory: Path, one_picture: Path
) -> None:
    await kill(await begin_run(state_directory, *FAST, "--pictures", str(one_picture)))
    async with running(options(state_directory, one_picture)) as stack:
        await asyncio.sleep(3)  # the dead one's guard has come and gone
        assert await serves(stack.addresses)


@pytest.mark.parametrize("then", ["start", "down"])
async def test_what_outlives_supervisor_and_guard_is_ended_by_the_next_command(
    state_directory: Path, one_picture: Path, then: str
) -> None:
    run = await begin_run(state_directory, *FAST, "--pictures", str(one_picture))
    before = read_state(state_directory)
    run.send_signal(signal.SIGSTOP)
    os.kill(guard_of(run.pid), signal.SIGKILL)
    await kill(run)
    assert all(server.process.alive() for server in before.servers)
    if then == "start":
        async with running(options(state_directory, one_picture)) as stack:
            assert await serves(stack.addresses)
            assert not any(server.process.alive() for server in before.servers)
    else:
        assert await command(state_directory, "down") == (0, "The local stack is down.\n")
        assert marked(state_directory) == []


async def test_a_stack_beside_another_stays_when_that_one_goes(
    state_directory: Path, passable_directory: Path, one_picture: Path
) -> None:
    async with running(options(passable_directory / "the stack 2", one_picture)) as other:
        run = await begin_run(state_directory, *FAST, "--pictures", str(one_picture))
        await kill(run)
        await until(lambda: not marked(state_directory))
        await command(state_directory, "down")
        assert await serves(other.addresses)
        other_supervisor = other.supervisor
        assert other_supervisor is not None
        other_supervisor.check_whole()


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

    assert (await command(state_directory, *up))[0] == 0
    assert Addresses.of(read_state(state_directory)) == addresses  # ports and password are kept
    await command(state_directory, "down")
