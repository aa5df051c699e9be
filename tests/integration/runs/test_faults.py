"""Servers die and come back, disks fill up: what was done stays done, and the rest gets done."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from deployments.local.postgres import server as postgres
from deployments.local.postgres.home import PostgresHome, find_home
from deployments.local.processes.program import Process, start
from deployments.local.processes.state import choose_ports
from deployments.local.stack import Stack
from tasks.core.csv_parts import read_part
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import DatabaseUnavailable
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.runs import lifecycle
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval, secret
from tests.support.model_server import ModelServer
from tests.support.sync import finish, options, prepare, sync
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
ROWS = "SELECT count(*) FROM birdwalk.vectors_1"


@dataclass(slots=True)
class OwnPostgres:
    """A Postgres of this test's own, to be killed: others use the stack's meanwhile."""

    process: Process
    url: str

    async def crash(self) -> None:
        await self.process.kill()

    async def restart(self) -> None:
        self.process = await start(self.process.program)


@pytest.fixture
def own_home(stack_directory: Path) -> PostgresHome:
    directory = Path(tempfile.mkdtemp(prefix="own-", dir=stack_directory))
    directory.chmod(0o755)  # Postgres is another user when we are root
    return find_home(directory)


@pytest.fixture
async def own_postgres(own_home: PostgresHome) -> AsyncIterator[OwnPostgres]:
    home, port = own_home, choose_ports(["postgres"], {})["postgres"]
    program = postgres.program(home, port=port, log=home.data.parent / "postgres.log")
    own = OwnPostgres(await start(program), postgres.database_url(home, port, "postgres"))
    yield own
    await own.process.stop()
    postgres.remove_sockets(home)


async def test_a_killed_postgres_costs_the_run_nothing_but_time(
    settings: Settings, own_postgres: OwnPostgres, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(30)
    settings = settings.model_copy(update={"database_url": secret(own_postgres.url)})
    async with open_run(options(bucket.name, batch_size=10), settings, "test") as run:
        await prepare(run)
        await insert_batch(run, 1, await embed_batch(run, 1))
        counts = await embed_batch(run, 2)
        await own_postgres.crash()
        with pytest.raises(DatabaseUnavailable):
            await insert_batch(run, 2, counts)
        with pytest.raises(DatabaseUnavailable):
            await embed_batch(run, 3)
        await own_postgres.restart()
        assert await fetchval(own_postgres.url, ROWS) == 10
        # What Prefect's retries do: call the tasks again.
        for batch in (2, 3):
            await insert_batch(run, batch, await embed_batch(run, batch))
        published = (await finish(run))[2]
    assert published.images == 30
    assert await model_server.answers() == 30


async def test_a_run_whose_database_died_is_finished_by_the_next(
    settings: Settings,
    own_postgres: OwnPostgres,
    bucket: LocalBucket,
    model_server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "SECONDS_TO_CLOSE", 0.2)
    bucket.put_pictures(30)
    settings = settings.model_copy(update={"database_url": secret(own_postgres.url)})

    async def cut_off(run: Run) -> None:
        await prepare(run)
        await insert_batch(run, 1, await embed_batch(run, 1))
        await embed_batch(run, 2)
        await own_postgres.crash()
        await embed_batch(run, 3)

    with pytest.raises(DatabaseUnavailable, match="BIRDWALK_DATABASE_URL"):
        async with open_run(options(bucket.name, batch_size=10), settings, "test") as run:
            await cut_off(run)
    await own_postgres.restart()
    done = await sync(settings, bucket.name)
    assert (done.plan.recovered, done.total("embedded"), done.published.images) == (10, 10, 30)
    assert await model_server.answers() == 30


async def test_a_statement_that_a_server_on_its_way_down_cancelled_is_tried_again(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(10)
    await prepare(run)
    counts = await embed_batch(run, 1)
    locker = await asyncpg.connect(url)
    await locker.execute("BEGIN")
    await locker.execute("LOCK TABLE birdwalk.vectors_1 IN SHARE MODE")
    inserting = asyncio.create_task(insert_batch(run, 1, counts))
    cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = $1"

    async def is_cancelled() -> bool:
        ours = f"{cancel} AND datname = current_database()"
        return bool(await fetchval(url, ours, "relation"))

    await until(is_cancelled)
    # Prefect's retries call a task again that raised this.
    with pytest.raises(DatabaseUnavailable, match="cancelled a statement"):
        await inserting
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.batches WHERE durable") == 0
    await locker.close()
    await insert_batch(run, 1, counts)
    assert await fetchval(url, ROWS) == 10


async def test_the_model_server_may_restart_in_mid_run(
    settings: Settings,
    stack: Stack,
    bucket: LocalBucket,
    model_server: ModelServer,
    quick_backoff: None,
) -> None:
    assert quick_backoff is None
    bucket.put_pictures(60)

    async def some_are_answered() -> bool:
        return await model_server.answers() >= 10

    asked = options(bucket.name, requests_per_minute=1500, batch_size=60)
    async with open_run(asked, settings, "test") as run:
        await prepare(run)
        batch = asyncio.create_task(embed_batch(run, 1))
        await until(some_are_answered)
        assert run.progress.done < 60
        await stack.restart("vertex")
        counts = await insert_batch(run, 1, await batch)
        published = (await finish(run))[2]
    assert (counts.embedded, counts.leftover, counts.refused) == (60, 0, 0)
    assert counts.retries > 0
    assert counts.answers == published.images == 60


async def test_connections_cut_all_the_time_lose_and_double_nothing(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(40)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with open_run(options(bucket.name, batch_size=10), settings, "test") as run:
        made = await prepare(run)
        over = asyncio.Event()

        async def cut_connections() -> None:
            while not over.is_set():
                await execute(url, cut)
                await asyncio.sleep(0.15)

        cutter = asyncio.create_task(cut_connections())
        for batch in made.batches:
            await _until_it_works(run, batch.number)
        over.set()
        await cutter
        published = (await finish(run))[2]
    assert published.images == await fetchval(url, ROWS) == 40
    assert await model_server.answers() == 40
    sums = "SELECT sum(images), sum(embedded) FROM birdwalk.batches"
    assert await fetch(url, sums) == [(40, 40)]


async def _until_it_works(run: Run, batch: int) -> None:
    for _ in range(100):
        try:
            await insert_batch(run, batch, await embed_batch(run, batch))
        except DatabaseUnavailable:
            continue
        return
    pytest.fail("a hundred attempts were cut off")


FULL_DISK = """
import asyncio, resource, signal, sys
from tasks.core.settings import Settings
from tests.support.sync import sync

# A write past this size fails as on a full disk, once the limit's signal is ignored.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
asyncio.run(sync(Settings(), sys.argv[1]))
"""


async def test_a_full_disk_stops_the_run_and_keeps_whole_rows(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(10)
    environment = {
        f"BIRDWALK_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
    }
    failed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FULL_DISK, bucket.name),
        cwd=ROOT,
        env={**os.environ, **environment, "BIRDWALK_DATABASE_URL": url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(failed.communicate(), 60)
    assert failed.returncode == 1
    assert "tasks.core.errors.ArtifactError: Cannot write" in stderr.decode()
    assert "File too large" in stderr.decode()
    assert "BIRDWALK_DATA_DIRECTORY" in stderr.decode()
    (part,) = settings.data_directory.glob("runs/*/parts/*.csv")
    rows = len(read_part(part, 128))
    assert 1 <= rows < 10
    assert part.read_bytes().endswith(b"\n")
    assert await fetch(url, "SELECT verdict FROM birdwalk.runs") == [("failed",)]
    done = await sync(settings, bucket.name)
    assert (done.plan.recovered, done.published.images) == (rows, 10)
