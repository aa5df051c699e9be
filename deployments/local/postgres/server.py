"""Postgres 18 with pgvector for the local stack: initialise, start, stop, recover.

It listens on a Unix socket in a directory of mode 0700, where local users are trusted, and on
loopback TCP, where a random password is asked for. fsync stays on.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import asyncpg

from deployments.local.errors import StackError
from deployments.local.postgres.home import PostgresHome, make_private
from deployments.local.postgres.recovery import end_postgres
from deployments.local.processes.http_probe import LOOPBACK
from deployments.local.processes.program import Program, run

MAJOR_VERSION = "18"
START_SECONDS = 600.0  # after a crash the write-ahead log is replayed first
STOP_SECONDS = 30.0
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "max_connections": "200",  # Prefect's server takes 15, each flow run six
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "512MB",
    "dynamic_shared_memory_type": "mmap",  # a container's /dev/shm of 64 MB is too small
}
# Postgres needs none of the caller's; PG* ones would change what initdb does.
WITHOUT = ("PG", "LC_", "LANG")


def database_url(home: PostgresHome, port: int, database: str) -> str:
    """Return the address over the Unix socket, as asyncpg and libpq read it."""
    host = quote(str(home.sockets), safe="")
    return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={port}"


def program(home: PostgresHome, *, port: int, log: Path) -> Program:
    """Return the Postgres server; its preparation makes the data directory when it is missing."""
    url = database_url(home, port, "postgres")
    # The list's own quotes keep a comma or a space of the path inside one element.
    sockets = '"' + str(home.sockets).replace('"', '""') + '"'
    settings = {**SETTINGS, "port": str(port), "unix_socket_directories": sockets}
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    async def ready() -> bool:
        return await answers(url)

    async def prepare() -> None:
        await _prepare(home, log)

    return Program(
        name="postgres",
        command=(str(home.binaries / "postgres"), "-D", str(home.data), *arguments),
        log=log,
        ready=ready,
        address=f"{LOOPBACK}:{port}, {home.sockets}",
        environment={"LC_ALL": "C"},
        start_seconds=START_SECONDS,
        without=WITHOUT,
        prepare=prepare,
        stop_signal=signal.SIGINT,  # fast shutdown: clients are disconnected
        stop_seconds=STOP_SECONDS,
        account=home.account,
        directory=home.binaries,
    )


async def answers(url: str) -> bool:
    """Tell whether a connection to the address works now."""
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False
    await connection.close()
    return True


async def create_databases(url: str, names: Iterable[str], password: str) -> None:
    """Make the databases that are missing, and set the superuser's password for TCP."""
    connection = await asyncpg.connect(url)
    try:
        statement = "SELECT format('ALTER ROLE postgres PASSWORD %L', $1::text)"
        await connection.execute(await connection.fetchval(statement, password))
        existing = {row["datname"] for row in await connection.fetch("TABLE pg_database")}
        for name in names:
            if name not in existing:
                statement = "SELECT format('CREATE DATABASE %I', $1::text)"
                await connection.execute(await connection.fetchval(statement, name))
    finally:
        await connection.close()


def remove_sockets(home: PostgresHome) -> None:
    """Remove the socket's directory after Postgres ended."""
    shutil.rmtree(home.sockets, ignore_errors=True)


async def _prepare(home: PostgresHome, log: Path) -> None:
    if home.data.exists():
        _check_data(home)
        await end_postgres(home.data)
    else:
        await _initialise(home, log.with_name("initdb.log"))
    make_private(home.sockets, home.account)
    for stale in home.sockets.glob(".s.PGSQL.*"):
        stale.unlink()


def _check_data(home: PostgresHome) -> None:
    uid = os.geteuid() if home.account is None else home.account.uid
    owner = home.data.stat().st_uid
    if owner != uid:
        raise StackError(
            f"{home.data} belongs to uid {owner}, but Postgres would run as uid {uid}. "
            "Start the stack as its owner, or choose another --state-directory."
        )
    try:
        version = (home.data / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        version = ""
    if version != MAJOR_VERSION:
        made_by = f"Postgres {version}" if version else "something else"
        raise StackError(
            f"{home.data} was made by {made_by}, but Postgres {MAJOR_VERSION} is installed. "
            "Move it away to start with an empty database."
        )


async def _initialise(home: PostgresHome, log: Path) -> None:
    """Let initdb fill a directory beside the final one, and rename it once it is complete."""
    parent = home.data.parent
    for unfinished in parent.glob(".initdb-*"):
        shutil.rmtree(unfinished)
    new = Path(tempfile.mkdtemp(prefix=".initdb-", dir=parent))
    if home.account is not None:
        os.chown(new, home.account.uid, home.account.gid)

    initdb = Program(
        name="initdb",
        command=(
            *(str(home.binaries / "initdb"), "-D", str(new), "--username=postgres"),
            *("--auth-local=trust", "--auth-host=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-instructions"),
        ),
        log=log,
        environment={"LC_ALL": "C"},
        start_seconds=START_SECONDS,
        without=WITHOUT,
        account=home.account,
        directory=home.binaries,
    )
    await run(initdb)
    await asyncio.to_thread(new.rename, home.data)
