"""Prefect's server and its UI, on a database of the local Postgres."""

import sys
from pathlib import Path
from urllib.parse import quote

from deployments.local.postgres.home import PostgresHome
from deployments.local.processes.http_probe import LOOPBACK, answers_ok
from deployments.local.processes.program import Program

DATABASE = "prefect"
START_SECONDS = 180.0  # 12 to 27 s when the machine is idle
# With the defaults of 1 a server records 20 to 30 task runs a second and drops events beyond.
BATCH_SETTINGS = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "100",
}
LEASE_STORAGE = "prefect.server.concurrency.lease_storage.filesystem"  # below PREFECT_HOME
# Prefect's own settings of the caller, such as a cloud profile, do not reach the local server.
WITHOUT = ("PREFECT_",)


def api_url(port: int) -> str:
    """Return the address that PREFECT_API_URL wants."""
    return f"http://{LOOPBACK}:{port}/api"


def ui_url(port: int) -> str:
    """Return the address that a person opens."""
    return f"http://{LOOPBACK}:{port}"


def sqlalchemy_url(home: PostgresHome, port: int) -> str:
    """Return the database's address over the Unix socket, as SQLAlchemy reads it."""
    host = quote(str(home.sockets), safe="")
    return f"postgresql+asyncpg://postgres@/{DATABASE}?host={host}&port={port}"


def program(*, port: int, home: Path, database: str, log: Path, schedules: bool = True) -> Program:
    """Return the server.

    Args:
        port: of API and UI.
        home: PREFECT_HOME, where it keeps its files.
        database: SQLAlchemy address; see `sqlalchemy_url`.
        log: file that receives its output.
        schedules: whether deployments run by their schedules.
    """

    async def ready() -> bool:
        return await answers_ok(f"{api_url(port)}/health")

    return Program(
        name="prefect",
        command=(
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", LOOPBACK, "--port", str(port)),
        ),
        log=log,
        ready=ready,
        address=ui_url(port),
        environment={
            **BATCH_SETTINGS,
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            # Without it the UI calls port 4200, whatever the server's own port is.
            "PREFECT_UI_API_URL": api_url(port),
            # A lease in memory is lost when the server restarts: it would then end the run that
            # holds a deployment's slot, or never free the slot of a run that died.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASE_STORAGE,
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": str(schedules).lower(),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        },
        start_seconds=START_SECONDS,
        without=WITHOUT,
    )
