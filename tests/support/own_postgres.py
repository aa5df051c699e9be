"""A Postgres of a test's own, and what else runs as somebody."""

import asyncio
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from deployments.local.postgres import server as postgres
from deployments.local.postgres.home import PostgresHome, can
from deployments.local.processes.identity import Identity
from deployments.local.processes.program import Account, Process, start
from deployments.local.processes.state import choose_ports

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


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


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


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
    """Run Postgres as our own child, that no stack knows of."""
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
