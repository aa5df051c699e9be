"""A run shared with two workers, one of which is killed, completes all the same.

The stack's own worker stands aside, since it would take both shards.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from deployments.local.prefect import worker
from deployments.local.processes.http_probe import post_json
from deployments.local.processes.program import Process, Program, start
from deployments.local.stack import Stack
from tests.acceptance import programs
from tests.support.buckets import LocalBucket
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.waiting import until

IMAGES = 200
BATCH_SIZE = 10
REQUESTS_PER_MINUTE = 300
"""Its images take forty seconds: a worker needs ten to start a flow on a busy machine."""

INDEX = "in_shards"
RUN = "SELECT run_id FROM birdwalk.runs WHERE index_name = 'in_shards'"
BATCHES = "SELECT count(*), sum(images) FROM birdwalk.batches WHERE run_id = $1 AND durable"
WORKING = """
SELECT count(*) FROM (
    SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
        AND application_name = 'birdwalk worker of run ' || $1::bigint
    GROUP BY pid HAVING count(*) > 1
) AS workers
"""
"""Processes that have a batch, beside the lock that shows that they are there."""


def worker_program(stack: Stack, name: str, log: Path) -> Program:
    """Return a worker that runs one flow at a time and asks for work every second."""
    api_url = stack.addresses.prefect_api_url
    assert api_url is not None

    async def ready() -> bool:
        workers = await post_json(f"{api_url}/work_pools/{worker.POOL}/workers/filter", {})
        return any(w["name"] == name and w["status"] == "ONLINE" for w in workers or [])

    environment = {**stack.addresses.environment(), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    program = worker.program(api_url=api_url, environment=environment, log=log)
    command = (
        *(sys.executable, "-m", "prefect", "worker", "start"),
        *("--pool", worker.POOL, "--type", "process", "--name", name, "--limit", "1"),
    )
    return replace(program, name=name, command=command, ready=ready)


@pytest.fixture
async def two_workers(worker_stack: Stack, tmp_path: Path) -> AsyncIterator[list[Process]]:
    """Two workers in the place of the stack's."""
    await worker_stack.kill("worker")
    workers = [
        await start(worker_program(worker_stack, name, tmp_path / f"{name}.log"))
        for name in ("first", "second")
    ]
    yield workers
    for process in workers:
        await process.stop()
    await worker_stack.restart("worker")


async def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that these started."""
    listed = await asyncio.create_subprocess_exec(
        "ps", "-A", "-o", "pid=,ppid=", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await listed.communicate()
    pairs = (line.split() for line in output.decode().splitlines())
    parents = {int(child): int(parent) for child, parent in pairs}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


async def kill_with_its_flow_run(process: Process) -> None:
    """Kill a worker, so that it can report nothing, and then what it runs."""
    running = await descendants(process.identity.pid)
    assert running, "the worker ran no flow"
    await process.kill()
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(240)
async def test_the_batches_of_a_killed_worker_are_done_by_the_others(
    worker_stack: Stack,
    two_workers: list[Process],
    prefect_client: PrefectClient,
    bucket: LocalBucket,
    model_server: ModelServer,
) -> None:
    url = worker_stack.addresses.database_url
    bucket.put_pictures(IMAGES)
    await model_server.configure(instant=True, latency_seconds=0.1)
    program = programs.Program("flows.embed_images", worker_stack.addresses.environment())
    flow = await program.start(
        # In a space of a kind that no other test's index has: it would be taken over from there.
        *("--bucket", bucket.name, "--index", INDEX, "--dimension", "512", "--shards", "3"),
        *("--batch-size", str(BATCH_SIZE), "--requests-per-minute", str(REQUESTS_PER_MINUTE)),
    )
    ending = asyncio.create_task(programs.end_of(flow))

    async def both_work() -> bool:
        assert not ending.done(), ending.result().err
        if not await fetchval(url, "SELECT to_regclass('birdwalk.runs') IS NOT NULL"):
            return False
        run_id = await fetchval(url, RUN)
        return run_id is not None and await fetchval(url, WORKING, run_id) == 2

    await until(both_work, 120)
    await kill_with_its_flow_run(two_workers[0])
    run_id = await fetchval(url, RUN)
    ((durable, _),) = await fetch(url, BATCHES, run_id)
    assert durable < IMAGES / BATCH_SIZE
    finished = await ending
    assert finished.status == 0, finished.err

    assert await fetch(url, BATCHES, run_id) == [(IMAGES / BATCH_SIZE, IMAGES)]
    assert await fetchval(url, "SELECT count(*) FROM in_shards") == IMAGES
    # All are on one disk: what the dead one had got is in its parts.
    in_flight = (await model_server.statistics()).most_in_flight
    assert IMAGES <= await model_server.answers() <= IMAGES + in_flight

    ours = FlowRunFilter(name=FlowRunFilterName(like_=f"of run {run_id}"))
    shards = await prefect_client.read_flow_runs(flow_run_filter=ours)
    assert sorted(str(shard.state_name) for shard in shards) == ["Cancelled", "Completed"]
