"""Our Postgres starts wherever it is put, after whatever happened to it."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from deployments.local.errors import StackError
from deployments.local.postgres import recovery
from deployments.local.postgres import server as postgres
from deployments.local.postgres.home import find_home
from deployments.local.processes.identity import Identity
from deployments.local.processes.program import launch
from deployments.local.processes.state import choose_ports
from tasks.core.database.errors import translated
from tasks.core.errors import DatabaseUnavailable
from tests.support.own_postgres import (
    ask,
    mode_of,
    serving,
    spawn_as,
    spawn_postgres,
    until_dead,
    until_locked,
)

PASSWORD = "the superuser's 'password'"  # noqa: S105 - of a database that lives for one test
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def test_it_serves_pgvector_with_fsync_in_utf8(passable_directory: Path) -> None:
    async with serving(find_home(passable_directory)) as (_, url):
        await ask(url, "CREATE EXTENSION vector")
        assert await ask(url, "SELECT '[0,3]'::vector <-> '[4,0]'") == 5
        assert await ask(url, "SHOW fsync") == "on"
        assert await ask(url, "SHOW server_encoding") == "UTF8"
        assert await ask(url, "SELECT datcollate FROM pg_database LIMIT 1") == "C"
        assert await ask(url, "SHOW max_wal_size") == "4GB"


async def test_tcp_is_loopback_with_the_password_and_the_socket_is_private(
    passable_directory: Path,
) -> None:
    home = find_home(passable_directory)
    port = choose_ports(["postgres"], {})["postgres"]
    tcp = {"host": "127.0.0.1", "port": port, "user": "postgres", "database": "birdwalk"}
    async with serving(home, port) as (_, url):
        for _ in range(2):  # idempotent
            await postgres.create_databases(url, ["birdwalk", "prefect"], PASSWORD)
        connection = await asyncpg.connect(**tcp, password=PASSWORD)
        assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
        await connection.close()
        for wrong in ("", "postgres"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(**tcp, password=wrong)
        assert mode_of(home.sockets) == 0o700
    assert not home.sockets.exists()


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "per%20cent%",
        'quote"d, comma',
        "größe-🐦",
        "/".join(["a-long-directory-name"] * 9),
    ],
)
async def test_any_path_will_do(passable_directory: Path, name: str) -> None:
    home = find_home(passable_directory / name)
    async with serving(home) as (_, url):
        assert await ask(url, "SHOW data_directory") == str(home.data)
    assert home.data.is_relative_to(passable_directory / name)


async def test_any_temporary_directory_will_do(
    passable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("with space", "a,b:c%20", "long-" * 30):
        temporary = passable_directory / name
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        async with serving(find_home(passable_directory)) as (_, url):
            assert await ask(url, "SELECT 1") == 1


async def test_rows_survive_a_stop(passable_directory: Path) -> None:
    home = find_home(passable_directory)
    async with serving(home) as (process, url):
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not process.identity.alive()
    async with serving(home) as (_, url):
        assert await ask(url, "SELECT answer FROM kept") == 42


async def test_rows_survive_a_kill_and_it_starts_again_at_once(passable_directory: Path) -> None:
    home = find_home(passable_directory)
    async with serving(home) as (process, url):
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        holder = await asyncpg.connect(url)
        await process.kill()
        assert (home.data / "postmaster.pid").exists()
        with pytest.raises(DatabaseUnavailable), translated():
            await holder.execute("SELECT 1")
        before = time.monotonic()
        async with serving(home) as (_, again):
            assert await ask(again, "SELECT answer FROM kept") == 42
        assert time.monotonic() - before < 20


async def test_a_client_that_is_connected_does_not_delay_the_stop(passable_directory: Path) -> None:
    async with serving(find_home(passable_directory)) as (process, url):
        client = await asyncpg.connect(url)
        before = time.monotonic()
        await process.stop()
        assert time.monotonic() - before < 10
        client.terminate()


async def test_a_dead_postmaster_is_noticed(passable_directory: Path) -> None:
    """A zombie keeps its id, and Postgres itself would take it for a running server."""
    home = find_home(passable_directory)
    async with serving(home):
        pass
    with spawn_postgres(home) as child:
        await until_locked(home)
        child.kill()
        await until_dead(child.pid)
        os.kill(child.pid, 0)  # nobody waited for it: a zombie
        async with serving(home) as (_, url):
            assert await ask(url, "SELECT 1") == 1


async def test_another_process_with_the_postmasters_id_is_left_alone(
    passable_directory: Path,
) -> None:
    """After a reboot the id may be anybody's, and Postgres itself would refuse to start."""
    home = find_home(passable_directory)
    async with serving(home):
        pass
    with spawn_as(home.account, ["sleep", "300"]) as stranger:
        lock = home.data / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{home.data}\n1\n5432\n\n\n")
        async with serving(home) as (_, url):
            assert await ask(url, "SELECT 1") == 1
        assert stranger.poll() is None


async def test_a_torn_lock_file_is_no_obstacle(passable_directory: Path) -> None:
    home = find_home(passable_directory)
    async with serving(home):
        pass
    (home.data / "postmaster.pid").touch()
    async with serving(home) as (_, url):
        assert await ask(url, "SELECT 1") == 1


@linux_only
async def test_a_postgres_left_on_the_data_directory_is_ended_first(
    passable_directory: Path,
) -> None:
    home = find_home(passable_directory)
    async with serving(home):
        pass
    with spawn_postgres(home) as stray:
        await until_locked(home)
        async with serving(home) as (_, url):
            assert stray.wait(10) == 0
            assert await ask(url, "SELECT 1") == 1


def test_a_postgres_on_another_data_directory_is_left_alone(tmp_path: Path) -> None:
    program = tmp_path / "postgres"
    program.symlink_to(sys.executable)
    command = [str(program), "-c", "import time; print(flush=True); time.sleep(300)"]
    with ExitStack() as running:
        pids = []
        for name in ("data", "other data"):
            (tmp_path / name).mkdir()
            child = subprocess.Popen(command, cwd=tmp_path / name, stdout=subprocess.PIPE)
            running.enter_context(child)
            running.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline() == b"\n"
            pids.append(child.pid)
        assert recovery._running_on(tmp_path / "data") == [Identity.of(pids[0])]


async def test_a_half_made_data_directory_is_never_used(
    passable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = find_home(passable_directory)
    with monkeypatch.context() as patched:
        patched.setattr(postgres, "SETTINGS", {})
        broken = replace(home, binaries=passable_directory / "binaries")
        broken.binaries.mkdir()
        script = '#!/bin/sh\ntouch "$2/half"\necho "initdb: no space left" >&2\nexit 1\n'
        (broken.binaries / "initdb").write_text(script)
        (broken.binaries / "initdb").chmod(0o755)
        with pytest.raises(StackError, match=r"(?s)initdb ended with status 1.*no space left"):
            await launch(postgres.program(broken, port=1, log=passable_directory / "log"))
    assert not home.data.exists()
    async with serving(home) as (_, url):
        assert await ask(url, "SELECT 1") == 1
    assert list(home.data.parent.glob(".initdb-*")) == []


async def test_a_server_that_cannot_start_says_why(passable_directory: Path) -> None:
    home = find_home(passable_directory)
    async with serving(home):
        pass
    with (home.data / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(StackError, match=r"(?s)postgres ended with status.*no_such_setting"):
        async with serving(home):
            pass


async def test_data_of_another_version_is_refused(passable_directory: Path) -> None:
    home = find_home(passable_directory)
    async with serving(home):
        pass
    (home.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(StackError, match="made by Postgres 17, but Postgres 18"):
        async with serving(home):
            pass


async def test_a_socket_directory_of_somebody_else_is_refused(passable_directory: Path) -> None:
    home = replace(find_home(passable_directory), sockets=passable_directory / "sockets")
    home.sockets.symlink_to(tempfile.gettempdir())
    with pytest.raises(StackError, match="trusts only its own"):
        async with serving(home):
            pass
