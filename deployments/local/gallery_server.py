"""The gallery, as one more server of the local stack."""

import sys
from collections.abc import Mapping
from pathlib import Path

from deployments.gallery.guard import HEALTH
from deployments.local.processes.http_probe import LOOPBACK, answers_ok
from deployments.local.processes.program import Program

ROOT = Path(__file__).resolve().parents[2]


def url(port: int) -> str:
    """Return the address that a person opens."""
    return f"http://{LOOPBACK}:{port}"


def program(*, port: int, environment: Mapping[str, str], log: Path) -> Program:
    """Return the server; it starts before the database, and connects once that is there.

    Args:
        port: TCP port to listen on, on 127.0.0.1 only.
        environment: what it needs to find the local servers.
        log: file that receives its output.
    """

    async def ready() -> bool:
        return await answers_ok(f"{url(port)}{HEALTH}")

    return Program(
        name="gallery",
        command=(sys.executable, "-m", "deployments.gallery", "--port", str(port)),
        log=log,
        ready=ready,
        address=url(port),
        environment=environment,
        directory=ROOT,
    )
