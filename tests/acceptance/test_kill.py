"""Killed at any instant, the next run finishes the work: nothing lost, doubled, stale or repaid."""

import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from tests.support.buckets import LocalBucket
from tests.support.databases import fetchval
from tests.support.killing import Attack, Servers, assess, own_servers

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
