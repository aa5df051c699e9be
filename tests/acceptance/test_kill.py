"""Killed at any instant, the next run finishes the work: nothing lost, doubled, stale or repaid."""

import random
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from deployments.local.addresses import PROJECT
from deployments.local.stack import Stack
from tasks.core.settings import Settings
from tests.support.assessing import Model
from tests.support.attacks import POWER, kill_at_random, kill_in
from tests.support.buckets import LocalBucket
from tests.support.changing import ChangingBucket
from tests.support.databases import fetch, fresh_database, secret
from tests.support.driver import start_driver
from tests.support.killable import Servers, killable_servers, open_to_others
from tests.support.killing import DIMENSION, MOST_LOST, Attack
from tests.support.moments import MOMENTS, PUBLISH
from tests.support.spending import Spending

SEED = 20261123
KILLS = 5
IMAGES = 100
BATCH_SIZE = 10
LONGEST_SECONDS = 1.0

TARGETS = {
    "reuse": ("postgres",),
    "copy a batch": ("backend",),
    "insert a batch": POWER,
    "remove gone": ("backend",),
}
"""What is killed in a step; in all others it is the flow."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(
    stack_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Servers]:
    """Servers of these tests' own."""
    directory = Path(tempfile.mkdtemp(prefix="kill-", dir=stack_directory))
    open_to_others(directory)
    async with killable_servers(directory, tmp_path_factory.mktemp("data")) as started:
        yield started


@pytest.fixture
async def attack(servers: Servers, stack: Stack, tmp_path: Path) -> AsyncIterator[Attack]:
    """An attack on an index of this test's own."""
    bucket = LocalBucket(f"killed-{secrets.token_hex(4)}", servers.bucket.client)
    bucket.client.create_bucket(bucket.name)
    async with fresh_database(servers.database_url, "template1") as url:
        ours = {"database_url": secret(url), "data_directory": tmp_path / "data"}
        attacked = replace(
            servers, bucket=bucket, settings=servers.settings.model_copy(update=ours)
        )
        changing = ChangingBucket(bucket, random.Random(f"{SEED} bucket"))  # noqa: S311 - repeatable
        spared = Settings(project=PROJECT, vertex_endpoint=stack.addresses.vertex_endpoint)
        begun = Attack(
            servers=attacked,
            bucket=changing,
            start=start_driver,
            environment={},
            model=Model(spared, changing, DIMENSION),
            spending=Spending(servers.record, changing, MOST_LOST),
            random=random.Random(SEED),  # noqa: S311 - repeatable
            batch_size=BATCH_SIZE,
        )
        print(f"seed {SEED}")  # noqa: T201 - pytest shows it where the test fails
        yield begun
        await begun.close()
        print(begun.story())  # noqa: T201 - same


async def test_kills_at_random_instants_lose_double_and_repay_nothing(attack: Attack) -> None:
    await attack.open(IMAGES)
    await kill_at_random(attack, KILLS, LONGEST_SECONDS)
    await attack.finish()
    assert attack.faults == [], attack.story()
    assert sum(attack.kills.values()) >= KILLS


async def test_a_kill_in_any_step_loses_doubles_and_repays_nothing(attack: Attack) -> None:
    await attack.open(3 * BATCH_SIZE)
    for moment in MOMENTS:
        await kill_in(attack, moment, TARGETS.get(moment.step, ("flow",)))
    await attack.finish()
    await attack.change_dimension(256)
    await kill_in(attack, PUBLISH, ("flow",))
    url = attack.servers.database_url
    shown = "SELECT DISTINCT vector_dims(embedding) FROM image_embeddings"
    assert await fetch(url, shown) == [(DIMENSION,)]
    await attack.finish()
    assert await fetch(url, shown) == [(256,)]
    assert attack.faults == [], attack.story()
