"""Killed at any instant, the next run finishes the work: nothing lost, doubled, stale or repaid."""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from tasks.core.settings import Settings
from tests.acceptance.programs import Program, end_of
from tests.support.buckets import LocalBucket
from tests.support.databases import fetch, fetchval
from tests.support.killing import Attack, Servers, assess, own_servers
from tests.support.model_server import ModelServer
from tests.support.waiting import until

KILLS = 5
IMAGES = 200


@pytest.fixture
def directory(stack_directory: Path) -> Path:
    """Where this test's Postgres lives, under the path of a user who may be another."""
    made = Path(tempfile.mkdtemp(prefix="kill-", dir=stack_directory))
    made.chmod(0o755)
    return made


@pytest.fixture
async def servers(stack: Stack, directory: Path, tmp_path: Path) -> AsyncIterator[Servers]:
    """A Postgres and a model server of this test's own."""
    endpoint = stack.addresses.storage_endpoint
    async with own_servers(directory, endpoint, tmp_path / "data") as started:
        yield started


async def test_kills_of_sync_database_and_model_server_lose_double_and_repay_nothing(
    servers: Servers, bucket: LocalBucket
) -> None:
    attack = Attack(servers, bucket, random.Random(20261123))  # noqa: S311 - repeatable
    attack.fill(IMAGES)
    try:
        await attack.run(KILLS)
    finally:
        await attack.close()
    damage = await assess(attack)
    assert damage.none, (damage, attack.log)
    assert attack.flow_kills > 0
    url = servers.settings.database_url.get_secret_value()
    open_runs = "SELECT count(*) FROM birdwalk.runs WHERE verdict = 'running'"
    assert await fetchval(url, open_runs) == 0
    left = list(servers.settings.data_directory.glob("runs/*/parts/*.csv"))
    assert left == []


async def test_the_flow_itself_goes_on_from_where_it_was_killed(
    embed_images: Program, settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(90)
    await model_server.configure(instant=True, latency_seconds=0.1)
    asked = ("--bucket", bucket.name, "--requests-per-minute", "900", "--batch-size", "10")
    killed = await embed_images.start(*asked)
    ending = asyncio.create_task(end_of(killed))

    async def some_are_embedded() -> bool:
        assert not ending.done(), ending.result().err
        return await model_server.answers() >= 30

    await until(some_are_embedded, 120)
    killed.kill()
    await ending
    in_flight = (await model_server.statistics()).most_in_flight
    before = await model_server.answers()
    assert before < 90
    finished = await embed_images.run(*asked)
    assert finished.status == 0, finished.err
    assert 90 <= await model_server.answers() <= 90 + in_flight
    url = settings.database_url.get_secret_value()
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 90
    runs = "SELECT verdict, message FROM birdwalk.runs ORDER BY run_id"
    assert await fetch(url, runs) == [("failed", "killed"), ("completed", "")]
    # What the dead run had paid for was recovered, and not only what it had inserted.
    paid = "SELECT sum(calls) FROM birdwalk.runs WHERE verdict = 'completed'"
    assert await fetchval(url, paid) <= 90 - before + in_flight
