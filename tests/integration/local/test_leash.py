"""No program of the stack outlives its supervisor, however either ends."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.local.processes.identity import Identity
from deployments.local.processes.leftovers import MARK, end_leftovers, marked
from deployments.local.processes.program import LEASH, launch
from deployments.local.processes.state import State, read_state
from tests.support.sleepers import NOT_AT_ONCE, SLEEP, STUBBORN, linux_only, python, spawn, until

ROOT = Path(__file__).parents[3]


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def test_the_exit_status_passes_through_the_leash(tmp_path: Path) -> None:
    code = f"{NOT_AT_ONCE}; raise SystemExit(3)"
    assert await (await launch(python(code, tmp_path / "a"))).wait() == 3
    process = await launch(python(SLEEP, tmp_path / "b"))
    await process.kill()
    assert await process.wait() == 128 + signal.SIGKILL


GRANDCHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid)
"""


@linux_only
@pytest.mark.parametrize("parent", ["lives", "ended"])
async def test_a_grandchild_in_another_session_does_not_escape(tmp_path: Path, parent: str) -> None:
    code = GRANDCHILD + (SLEEP if parent == "lives" else NOT_AT_ONCE)
    process = await launch(python(code, tmp_path / "log"))
    await until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    grandchild = Identity.of(int((tmp_path / "log").read_text()))
    await process.stop()
    assert grandchild is None or not grandchild.alive()


SUPERVISOR = """
import asyncio, os, sys, time
from dataclasses import replace
from pathlib import Path
from deployments.local.processes.state import State
from deployments.local.processes.supervisor import Supervisor
from deployments.local.processes.program import Program

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


def test_a_leash_whose_supervisor_died_before_it_looked_ends_its_program() -> None:
    # Its input is open, as if another process held it; only its parent says that all is over.
    with spawn("") as dead:
        dead.wait()
    command = ["-I", "-S", str(LEASH), "--grace=1", "--signal=15", f"--supervisor={dead.pid}"]
    with subprocess.Popen(
        [sys.executable, *command, "--", sys.executable, "-c", SLEEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as leash:
        assert leash.wait(timeout=60) == 128 + signal.SIGTERM


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
