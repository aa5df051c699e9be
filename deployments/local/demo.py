"""The whole job on one machine: start the stack, run the flow on pictures, show what came out."""

import asyncio
import os
import sys
from pathlib import Path

from deployments.local.addresses import Addresses, StackOptions
from deployments.local.stack import running
from deployments.local.storage.samples import DEMO_QUERY
from tasks.core.maintenance.drop_space import drop_index
from tasks.core.settings import Settings

INDEX = "demo_images"
"""An index of its own, made anew each time: a demo must not touch an index that is in use."""

REQUESTS_PER_MINUTE = 100_000
"""The local model has no quota; this leaves the pace to the machine."""

ROOT = Path(__file__).resolve().parents[2]


async def demo(options: StackOptions, query: str | None) -> int:
    """Run the flow on the options' pictures and return its exit status.

    Args:
        options: the stack to use; one that is up already is used and left up.
        query: the image whose nearest images are shown; by default a plane of the samples, or
            the first picture of one's own folder.

    Raises:
        StackError: a server did not start, or the stack is up with other pictures.
    """
    print("Starting Postgres, Cloud Storage, Vertex AI and Prefect on this machine ...", flush=True)
    async with running(options) as stack:
        await drop_index(_settings(stack.addresses), INDEX)
        status = await _run_flow(stack.addresses, options, query)
        stays = stack.supervisor is None
    if not stays:
        print("\nEverything that was started is stopped. `birdwalk up` brings the run's page back.")
    return status


def _settings(addresses: Addresses) -> Settings:
    return Settings(database_url=addresses.database_url, data_directory=addresses.data_directory)


async def _run_flow(addresses: Addresses, options: StackOptions, query: str | None) -> int:
    if query is None and options.pictures is None:
        query = DEMO_QUERY
    command = [
        *(sys.executable, "-m", "flows.embed_images"),
        *("--bucket", options.bucket, "--index", INDEX),
        *("--requests-per-minute", str(REQUESTS_PER_MINUTE)),
    ]
    if query is not None:
        command += ["--query", query]
    flow = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**os.environ, **addresses.environment()}
    )
    return await flow.wait()
