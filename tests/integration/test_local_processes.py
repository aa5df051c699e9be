"""No program of the stack outlives its supervisor, however either ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployments.local.http_probe import answers_ok
from deployments.local.identity import Identity
from deployments.local.leftovers import MARK, end_leftovers, marked
from deployments.local.processes import Program, launch, start
from deployments.local.state import ServerRecord, State, read_state, write_state
from deployments.local.supervisor import Supervisor
from tasks.core.errors import StackError

ROOT = Path(__file__).parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc are Linux's")
SLEEP = "import time; time.sleep(300)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); {SLEEP}"


async def at_once() -> bool:
    return True


async def never() -> bool:
    return False


def spawn(code: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], **options)


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def python(code: str, log: Path, **fields: object) -> Program:
    program = Program("sleeper", (sys.executable, "-u", "-c", code), log, at_once)
    return replace(program, **fields)  # type: ignore[arg-type]  # each test names real fields


async def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def test_a_server_answers_until_it_is_stopped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    process = await start(Program("web", command, tmp_path / "log", lambda: answers_ok(url)))
    assert await answers_ok(url)
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

    mark = {MARK: str(tmp_path)}
    program = python(SLEEP, tmp_path / "log", ready=look, start_seconds=0.5, environment=mark)
    with pytest.raises(StackError, match=r"did not answer within 0\.5 s"):
        await start(program)
    assert marked(tmp_path) == []
    assert seen or sys.platform != "linux"


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    program = Program("ghost", ("/no/such/program",), tmp_path / "log", never)
    with pytest.raises(StackError, match=r"cannot run /no/such/program: .*No such file"):
        await start(program)


async def test_a_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    process = await start(python(STUBBORN, tmp_path / "log", stop_seconds=0.5))
    await until(lambda: (tmp_path / "log").read_text() == "up\n")
    before = time.monotonic()
    await process.stop()
    assert not process.identity.alive()
    assert 0.5 <= time.monotonic() - before < 5


async def test_the_exit_status_passes_through_the_leash(tmp_path: Path) -> None:
    assert await (await launch(python("raise SystemExit(3)", tmp_path / "a"))).wait() == 3
    process = await launch(python(SLEEP, tmp_path / "b"))
    await process.kill()
    assert await process.wait() == 128 + signal.SIGKILL


async def test_the_log_of_the_start_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text in ("first", "second"):
        await (await launch(python(f"print('{text}')", log))).wait()
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
    await (await launch(program)).wait()
    assert program.log.read_text() == "None ours\n"


GRANDCHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid)
"""


@linux_only
@pytest.mark.parametrize("parent", ["lives", "ended"])
async def test_a_grandchild_in_another_session_does_not_escape(tmp_path: Path, parent: str) -> None:
    code = GRANDCHILD + (SLEEP if parent == "lives" else "")
    process = await launch(python(code, tmp_path / "log"))
    await until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    grandchild = Identity.of(int((tmp_path / "log").read_text()))
    await process.stop()
    assert grandchild is None or not grandchild.alive()


SUPERVISOR = """
import asyncio, os, sys, time
from dataclasses import replace
from pathlib import Path
from deployments.local.state import State
from deployments.local.supervisor import Supervisor
from deployments.local.processes import Program

async def ready():
    return True

async def main():
    supervisor = Supervisor(Path(sys.argv[1]), State())
    command = (sys.executable, "-u", "-c", sys.argv[2])
    program = Program("sleeper", command, Path(sys.argv[1], "log"), ready, stop_seconds=1)
    await supervisor.start(program, "nowhere")
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(300)  # holds our end of the leash's pipe open
    print(supervisor.processes["sleeper"].leash.pid, flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""


async def started_by_another(
    directory: Path, code: str, *options: str
) -> tuple[subprocess.Popen[str], State]:
    """Start a supervisor in a process of its own and return it with what it wrote down."""
    command = [sys.executable, "-c", SUPERVISOR, str(directory), code, *options]
    supervisor = await asyncio.to_thread(
        subprocess.Popen, command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert isinstance(supervisor, subprocess.Popen)
    assert supervisor.stdout is not None
    assert (await asyncio.to_thread(supervisor.stdout.readline)).strip()
    supervisor.stdout.close()
    return supervisor, read_state(directory)


@linux_only
@pytest.mark.parametrize("option", ["plain", "fork"])
async def test_a_killed_supervisor_takes_its_programs_along(tmp_path: Path, option: str) -> None:
    supervisor, state = await started_by_another(tmp_path, SLEEP, option)
    forked = children(supervisor.pid) - {state.servers[0].leash.pid}
    assert len(forked) == (option == "fork")
    supervisor.kill()
    supervisor.wait()
    await until(lambda: not state.servers[0].process.alive())
    await until(lambda: not state.servers[0].leash.alive())
    for pid in forked:
        os.kill(pid, signal.SIGKILL)


@linux_only
async def test_a_killed_leash_takes_its_program_along(tmp_path: Path) -> None:
    process = await launch(python(SLEEP, tmp_path / "log"))
    os.kill(process.leash.pid, signal.SIGKILL)
    await until(lambda: not process.identity.alive())
    assert await process.wait() == -signal.SIGKILL
    await process.stop()


@linux_only
async def test_stop_ends_a_program_whose_leash_was_killed(tmp_path: Path) -> None:
    process = await launch(python(STUBBORN, tmp_path / "log"))
    await until(lambda: (tmp_path / "log").read_text() == "up\n")
    os.kill(process.leash.pid, signal.SIGKILL)
    await process.wait()
    assert process.identity.alive()
    await process.stop()
    await until(lambda: not process.identity.alive())


@linux_only
async def test_what_survives_leash_and_supervisor_is_found_and_ended(tmp_path: Path) -> None:
    supervisor, state = await started_by_another(tmp_path, STUBBORN)
    await until(lambda: (tmp_path / "log").read_text() == "up\n")
    leash, process = state.servers[0].leash, state.servers[0].process
    os.kill(supervisor.pid, signal.SIGSTOP)
    os.kill(leash.pid, signal.SIGKILL)
    supervisor.kill()
    supervisor.wait()
    await until(lambda: not leash.alive())
    assert process.alive()
    assert await end_leftovers(tmp_path, state) == 1
    assert not process.alive()


@linux_only
async def test_a_leftover_is_found_by_its_mark_without_a_state_file(tmp_path: Path) -> None:
    environment = {**os.environ, MARK: str(tmp_path)}
    with spawn(SLEEP, env=environment) as stray:
        await until(lambda: bool(marked(tmp_path)))
        assert await end_leftovers(tmp_path, State()) == 1
        assert stray.wait() == -signal.SIGTERM
    assert await end_leftovers(tmp_path, State()) == 0


async def test_a_process_that_got_a_leftovers_id_is_left_alone(tmp_path: Path) -> None:
    with spawn(SLEEP) as stranger:
        earlier = Identity(stranger.pid, "started long ago")
        record = ServerRecord("x", "nowhere", earlier, earlier, tmp_path / "log", signal.SIGTERM)
        write_state(tmp_path, State(servers=(record,)))
        assert await end_leftovers(tmp_path, read_state(tmp_path)) == 0
        assert stranger.poll() is None
        stranger.kill()


async def test_a_zombie_counts_as_dead() -> None:
    with spawn("") as child:
        identity = Identity.of(child.pid)
        assert identity is not None
        await until(lambda: not identity.alive())
        os.kill(child.pid, 0)  # it still has its id
        assert Identity.of(child.pid) is None


async def test_the_supervisor_says_which_program_ended_by_itself(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, State())
    await supervisor.start(python(SLEEP, tmp_path / "log"), "nowhere")
    supervisor.check_whole()
    os.kill(supervisor.processes["sleeper"].identity.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        assert "sleeper ended by itself with status 137" in await supervisor.failed()
    with pytest.raises(StackError, match="sleeper ended by itself"):
        supervisor.check_whole()
    await supervisor.stop()


async def test_a_killed_program_can_be_restarted_and_is_no_failure(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, State())
    await supervisor.start(python(SLEEP, tmp_path / "log"), "nowhere")
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
