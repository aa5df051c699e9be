"""A run and its workers in processes of their own, to be killed: without Prefect.

    python -m tests.support.sharded run|plan|sync|work BUCKET REQUESTS_PER_MINUTE BATCH_SIZE
    python -m tests.support.sharded worker RUN_ID

The run plans, says its number, and waits; one that only plans too. `sync` goes on to the end, and
`work` too, once it has a worker. A worker does batches until none is left. Each exits with 3 and
says why when birdwalk stops it.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tasks.core.concurrency import BATCHES_IN_FLIGHT
from tasks.core.errors import BirdwalkError
from tasks.core.runs.lifecycle import attach_run, open_run
from tasks.core.settings import Settings
from tests.support.databases import fetchval
from tests.support.sync import carry_out, load, options, prepare
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
STOPPED = 3
HELD = """
SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
WHERE locktype = 'advisory' AND datname = current_database()
"""


def variables(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a process the same settings."""
    found = {
        f"BIRDWALK_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
    }
    return {**found, "BIRDWALK_DATABASE_URL": settings.database_url.get_secret_value()}


async def start(*arguments: object, environment: Mapping[str, str]) -> Process:
    """Start a run or a worker, as the command line above says."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.sharded", *map(str, arguments)),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=PIPE,
        stderr=PIPE,
    )


async def kill(process: Process, url: str) -> None:
    """Kill the only one there is, and wait until Postgres has noticed."""
    process.kill()
    await process.communicate()
    await until_nothing_is_held(url)


async def until_nothing_is_held(url: str) -> None:
    """Wait until Postgres has let go of the locks of what was killed."""

    async def nothing_is_held() -> bool:
        return not await fetchval(url, HELD)

    await until(nothing_is_held)


async def hold_run(kind: str, bucket: str, requests_per_minute: int, batch_size: int) -> None:
    """Plan a run and hold its space until killed, or do it to its end."""
    asked = options(bucket, requests_per_minute=requests_per_minute, batch_size=batch_size)
    asked = replace(asked, plan_only=kind == "plan")
    async with open_run(asked, Settings(), "run sharded") as run:
        made = await prepare(run)
        sys.stdout.write(f"{run.run_id}\n")
        sys.stdout.flush()
        if kind in {"run", "plan"}:
            await asyncio.Event().wait()

        async def has_a_worker() -> bool:
            return kind == "sync" or run.lock.workers > 1

        await until(has_a_worker, 120)
        await carry_out(run, made)


async def work(run_id: int) -> None:
    """Embed and insert the batches of a run that nobody has."""
    async with attach_run(run_id, Settings()) as run:
        await load(run, BATCHES_IN_FLIGHT)


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    try:
        if kind in {"run", "plan", "sync", "work"}:
            bucket, *numbers = arguments
            asyncio.run(hold_run(kind, bucket, *map(int, numbers)))
        else:
            asyncio.run(work(*map(int, arguments)))
    except BirdwalkError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(STOPPED)
