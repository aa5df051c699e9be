"""No program of the stack outlives the process that started it, however that one ends."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deployments.local.processes.identity import MARK, Identity, marked
from deployments.local.processes.leftovers import end_abandoned, end_leftovers
from deployments.local.processes.state import (
    ServerRecord,
    State,
    lock,
    logs,
    read_state,
    write_state,
)
from tests.support.local_stack import guard_of
from tests.support.own_postgres import as_nobody, as_root
from tests.support.sleepers import SLEEP, STUBBORN, spawn, until

ROOT = Path(__file__).parents[3]
SUPERVISOR = """
import asyncio, os, sys, time
from pathlib import Path
from deployments.local.processes.guard import guarded
from deployments.local.processes.identity import Identity
from deployments.local.processes.state import State, lock, logs
from deployments.local.processes.supervisor import Supervisor
from deployments.local.processes.program import Program

async def main(directory, code, option):
    with lock(directory):
        supervisor = Supervisor(directory, State(supervisor=Identity.of(os.getpid())))
        async with guarded(directory):
            log = logs(directory) / "log"
            await supervisor.start(Program("sleeper", (sys.executable, "-u", "-c", code), log))
            if option == "forks" and os.fork() == 0:
                time.sleep(300)
            while not log.read_text():
                await asyncio.sleep(0.01)
            print("up", flush=True)
            await asyncio.sleep(300)

asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""


async def started_by_another(
    directory: Path, code: str, option: str = ""
) -> tuple[subprocess.Popen[str], Identity]:
    """Start a program from a process of its own; return that process and the program."""
    command = [sys.executable, "-c", SUPERVISOR, str(directory), code, option]
    supervisor = await asyncio.to_thread(
        subprocess.Popen, command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert isinstance(supervisor, subprocess.Popen)
    assert supervisor.stdout is not None
    assert (await asyncio.to_thread(supervisor.stdout.readline)).strip()
    supervisor.stdout.close()
    return supervisor, read_state(directory).servers[0].process


@pytest.mark.parametrize("code", [f"print('up'); {SLEEP}", STUBBORN])
@pytest.mark.parametrize("option", ["", "forks"])
async def test_a_killed_supervisor_takes_its_programs_along(
    tmp_path: Path, code: str, option: str
) -> None:
    supervisor, program = await started_by_another(tmp_path, code, option)
    guard = guard_of(supervisor.pid)
    assert os.getpgid(guard) != os.getpgid(supervisor.pid)  # Ctrl-C does not reach it
    known = {guard, program.pid}
    forked = [c.pid for c in psutil.Process(supervisor.pid).children() if c.pid not in known]
    assert len(forked) == (option == "forks")
    supervisor.kill()
    supervisor.wait()
    try:
        await until(lambda: not program.alive())
        await until(lambda: Identity.of(guard) is None)
    finally:
        for pid in (*known, *forked):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_a_guard_whose_parent_died_before_it_looked_ends_the_programs(tmp_path: Path) -> None:
    with spawn("") as dead:
        dead.wait()
    log = str(logs(tmp_path) / "log")
    with spawn(SLEEP, env={**os.environ, MARK: log}) as stray:
        command = ["-m", "deployments.local.processes.guard", str(tmp_path), str(dead.pid)]
        guard = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
        try:
            assert await asyncio.wait_for(guard.wait(), 60) == 0
        finally:
            with suppress(ProcessLookupError):
                guard.kill()
        assert stray.wait(1) == -signal.SIGTERM


async def test_a_leftover_is_found_by_its_mark_without_a_state_file(tmp_path: Path) -> None:
    log = str(logs(tmp_path) / "log")
    with spawn(SLEEP, env={**os.environ, MARK: log}) as stray:
        await until(lambda: bool(marked(tmp_path)))
        assert await end_leftovers(tmp_path, State()) == 1
        assert stray.wait() == -signal.SIGTERM
    assert await end_leftovers(tmp_path, State()) == 0


async def test_a_leftover_without_a_mark_is_found_by_the_state_file(tmp_path: Path) -> None:
    with spawn(SLEEP) as stray:
        process = Identity.of(stray.pid)
        assert process is not None
        record = ServerRecord("postgres", "nowhere", process, signal.SIGQUIT)
        assert await end_leftovers(tmp_path, State(servers=(record,))) == 1
        assert stray.wait() == -signal.SIGQUIT


async def test_what_another_process_holds_is_not_abandoned(tmp_path: Path) -> None:
    """It has ended the leftovers itself, or will; what runs now are its own servers."""
    log = str(logs(tmp_path) / "log")
    with spawn(SLEEP, env={**os.environ, MARK: log}) as server, lock(tmp_path):
        await until(lambda: bool(marked(tmp_path)))
        ending = asyncio.create_task(end_abandoned(tmp_path))
        await asyncio.sleep(0.3)
        assert not ending.done()  # it may be another guard, which is still at it
        write_state(tmp_path, State(supervisor=Identity.of(os.getpid())))
        assert await asyncio.wait_for(ending, 10) == 0
        assert server.poll() is None


END_AS_ANOTHER = """
import asyncio, sys
from pathlib import Path
from deployments.local.processes.leftovers import end_leftovers
from deployments.local.processes.state import State
print(asyncio.run(end_leftovers(Path(sys.argv[1]), State())))
"""


@as_root
async def test_another_users_stack_is_left_alone(tmp_path: Path) -> None:
    with spawn(SLEEP, env={**os.environ, MARK: str(logs(tmp_path) / "log")}) as ours:
        await until(lambda: bool(marked(tmp_path)))
        command = [*as_nobody(), "-c", END_AS_ANOTHER, str(tmp_path)]
        ended = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, check=True, capture_output=True, text=True
        )
        assert ended.stdout == "0\n"
        assert ours.poll() is None
