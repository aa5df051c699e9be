"""The stack's programs start, answer, are told apart and end; their logs say why."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.local.errors import StackError
from deployments.local.processes.http_probe import answers_ok
from deployments.local.processes.identity import Identity, marked
from deployments.local.processes.leftovers import end_leftovers
from deployments.local.processes.program import Program, launch, run, start
from deployments.local.processes.state import ServerRecord, State, read_state, write_state
from deployments.local.processes.supervisor import Supervisor
from tests.support.sleepers import SLEEP, STUBBORN, python, spawn, until


async def never() -> bool:
    return False


async def test_a_server_answers_until_it_is_stopped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    process = await start(Program("web", command, tmp_path / "log", lambda: answers_ok(url)))
    assert await answers_ok(url)
    pid = process.identity.pid
    assert os.getpgid(pid) == pid  # Ctrl-C does not reach it
    await process.stop()
    assert not process.running
    assert not process.identity.alive()
    assert not await answers_ok(url)


async def test_a_program_that_fails_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    code = "print(*range(100), sep='\\n'); import time; time.sleep(0.3); raise SystemExit(7)"
    with pytest.raises(StackError, match=r"(?s)sleeper ended with status 7\..*:\n80\n.*\n99$"):
        await start(python(code, tmp_path / "log", ready=never))


async def test_a_program_that_never_answers_is_ended(tmp_path: Path) -> None:
    seen: list[int] = []

    async def look() -> bool:
        seen.extend(identity.pid for identity in marked(tmp_path))
        return False

    program = python(SLEEP, tmp_path / "log", ready=look, start_seconds=0.5)
    with pytest.raises(StackError, match=r"did not answer within 0\.5 s"):
        await start(program)
    assert marked(tmp_path) == []
    assert seen


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    program = Program("ghost", ("/no/such/program",), tmp_path / "log", never)
    with pytest.raises(StackError, match=r"ghost cannot be started: .*/no/such/program"):
        await start(program)


async def test_a_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    process = await start(python(STUBBORN, tmp_path / "log", stop_seconds=0.5))
    await until(lambda: (tmp_path / "log").read_text() == "up\n")
    before = time.monotonic()
    await process.stop()
    assert not process.identity.alive()
    assert 0.5 <= time.monotonic() - before < 30


GRANDCHILD = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid)
"""


@pytest.mark.parametrize("parent", ["lives", "ended"])
@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_what_a_program_started_does_not_outlive_it(
    tmp_path: Path, parent: str, way: str
) -> None:
    process = await launch(python(GRANDCHILD + SLEEP * (parent == "lives"), tmp_path / "log"))
    await until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    grandchild = Identity.of(int((tmp_path / "log").read_text()))
    assert grandchild is not None
    await (process.stop() if way == "stop" else process.kill())
    assert not grandchild.alive()
    assert not process.running


async def test_a_program_that_is_run_to_its_end_must_succeed_in_time(tmp_path: Path) -> None:
    await run(python("print(1)", tmp_path / "log"))
    with pytest.raises(StackError, match=r"sleeper ended with status 3\..*\n2$"):
        await run(python("print(2); raise SystemExit(3)", tmp_path / "log"))
    with pytest.raises(StackError, match=r"sleeper did not end within 0\.2 s"):
        await run(python(SLEEP, tmp_path / "log", start_seconds=0.2))
    assert marked(tmp_path) == []


async def test_the_log_of_the_start_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text in ("first", "second"):
        await run(python(f"print('{text}')", log))
    assert log.read_text() == "second\n"
    assert log.with_name("log.1").read_text() == "first\n"


async def test_variables_of_the_caller_can_be_kept_from_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "the caller's")
    code = "import os; print(os.environ.get('PREFECT_API_KEY'), os.environ['PREFECT_HOME'])"
    program = python(
        code, tmp_path / "log", without=("PREFECT_",), environment={"PREFECT_HOME": "ours"}
    )
    await run(program)
    assert program.log.read_text() == "None ours\n"


async def test_a_process_that_got_a_leftovers_id_is_left_alone(tmp_path: Path) -> None:
    with spawn(SLEEP) as stranger:
        earlier = Identity(stranger.pid, 1.0)
        record = ServerRecord("x", "nowhere", earlier, signal.SIGTERM)
        write_state(tmp_path, State(servers=(record,)))
        assert await end_leftovers(tmp_path, read_state(tmp_path)) == 0
        assert stranger.poll() is None


async def test_a_zombie_counts_as_dead() -> None:
    with spawn("input()", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        identity = Identity.of(child.pid)
        assert identity is not None
        assert child.stdin is not None
        child.stdin.close()
        await until(lambda: not identity.alive())
        os.kill(child.pid, 0)  # it still has its id
        assert Identity.of(child.pid) is None


async def test_the_supervisor_says_which_program_ended_by_itself(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, State())
    await supervisor.start(python(SLEEP, tmp_path / "log"))
    supervisor.check_whole()
    os.kill(supervisor.processes["sleeper"].identity.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        assert "sleeper ended by itself with status -9" in str(await supervisor.failed())
    with pytest.raises(StackError, match="sleeper ended by itself"):
        supervisor.check_whole()
    await supervisor.stop()


async def test_a_killed_program_can_be_restarted_and_is_no_failure(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, State())
    await supervisor.start(python(SLEEP, tmp_path / "log"))
    first = supervisor.processes["sleeper"].identity
    await supervisor.kill("sleeper")
    assert not first.alive()
    await supervisor.restart("sleeper")
    second = read_state(tmp_path).servers[0].process
    assert second.alive()
    await supervisor.restart("sleeper")
    assert not second.alive()
    supervisor.check_whole()
    await supervisor.stop()
    assert read_state(tmp_path).servers == ()
    with pytest.raises(StackError, match="no server 'sleeper'; it runs: none"):
        await supervisor.kill("sleeper")
