"""A local stack of a test's own."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from deployments.local.processes.http_probe import answers_ok
from deployments.local.processes.state import read_state
from deployments.local.stack import Addresses, StackOptions
from deployments.local.vertex.options import ModelServerOptions

ROOT = Path(__file__).parents[2]
INSTANT = ModelServerOptions(instant=True)
FAST = ("--no-prefect", "--no-gallery", "--instant")


def options(state_directory: Path, pictures: Path) -> StackOptions:
    return StackOptions(state_directory, pictures, model=INSTANT, prefect=False)


async def command(directory: Path, *arguments: str) -> tuple[int, str]:
    """Run the stack's command line; return its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deployments.local", *arguments),
        *("--state-directory", str(directory)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def begin_run(directory: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Start `run` in the foreground of a process of its own, and wait until it is up."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deployments.local", "run", *arguments),
        *("--state-directory", str(directory)),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    async with asyncio.timeout(120):
        while not read_state(directory).up:
            assert process.returncode is None
            await asyncio.sleep(0.05)
    return process


def guard_of(pid: int) -> int:
    """Return the guard's process among those that a process started."""
    (guard,) = (
        child.pid
        for child in psutil.Process(pid).children()
        if "deployments.local.processes.guard" in child.cmdline()
    )
    return int(guard)


def port_of(endpoint: str | None) -> int:
    return httpx.URL(endpoint or "").port or 0


def listens(endpoint: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port_of(endpoint))) == 0


async def serves(addresses: Addresses) -> bool:
    bucket = await answers_ok(f"{addresses.storage_endpoint}/storage/v1/b/birdwalk/o")
    return bucket and listens(addresses.vertex_endpoint)
