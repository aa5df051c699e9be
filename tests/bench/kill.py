"""What kills -9 do to an index of 500 images, and what they cost.

The flow runs on Prefect's server, as always; its processes are forked from one that has imported
everything, so that the time goes into what is to be killed.
"""

import os
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from deployments.local.errors import StackError
from deployments.local.vertex.options import ModelServerOptions
from tasks.core.concurrency import BATCHES_IN_FLIGHT
from tests.bench.figures import Bar, Figure
from tests.bench.session import MeasurementFailed, Session
from tests.support.assessing import Model
from tests.support.attacks import POWER, kill_at_random, kill_in
from tests.support.buckets import LocalBucket
from tests.support.changing import ChangingBucket
from tests.support.databases import fresh_database, secret
from tests.support.driver import start_flow
from tests.support.killable import Servers, killable_servers, open_to_others
from tests.support.killing import DIMENSION, MOST_LOST, Attack
from tests.support.moments import MOMENTS, SWITCH
from tests.support.spending import Spending

TITLE = "Kill: the flow, its database, its model server, or all, while the bucket changes"
KILLS = 25
IMAGES = 500
LONGEST_SECONDS = 4.0
IMAGES_FOR_STEPS = 60
SEED = 20_261_123
BATCH_SIZE = 20
LOADING_ATTEMPTS = 6
"""Its loading keeps a server on a busy machine from answering in time."""

TARGETS = (("flow",), ("backend",), ("postgres",), POWER)
"""What is killed in the steps, in turns."""


async def measure(session: Session) -> list[Figure]:
    """Attack a sync at random instants, and another in each of its steps."""
    await _load_model(session)
    # Prefect reads it when it is imported, in the process that all runs are forked from.
    os.environ |= session.addresses.environment()
    directory = session.scratch / "kill"
    directory.mkdir()
    open_to_others(directory)
    figures = []
    try:
        async with killable_servers(directory, session.scratch / "data") as servers:
            async with _attack(session, servers) as attack:
                await attack.open(IMAGES)
                await kill_at_random(attack, KILLS, LONGEST_SECONDS)
                await attack.finish()
                figures += _figures(attack, "at random instants")
            async with _attack(session, servers) as attack:
                await _kill_in_steps(attack)
                figures += _figures(attack, "in each step")
    finally:
        await session.set_model(ModelServerOptions(instant=True))
    return figures


async def _load_model(session: Session) -> None:
    """Let the session's model server run its model: that one is not killed, but compared with."""
    for _ in range(LOADING_ATTEMPTS):
        try:
            await session.set_model(ModelServerOptions())
        except StackError:
            continue
        return
    raise MeasurementFailed("The model server does not load its model.")


async def _kill_in_steps(attack: Attack) -> None:
    await attack.open(IMAGES_FOR_STEPS)
    for turn, moment in enumerate(MOMENTS):
        # The flow, where the next step needs what a dead run left.
        targets = TARGETS[turn % len(TARGETS)] if moment.statement else ("flow",)
        await kill_in(attack, moment, targets)
    await attack.finish()
    await attack.change_dimension(2 * DIMENSION)
    await kill_in(attack, SWITCH, ("flow",))
    await attack.finish()


@asynccontextmanager
async def _attack(session: Session, servers: Servers) -> AsyncIterator[Attack]:
    bucket = LocalBucket(f"killed-{secrets.token_hex(4)}", servers.bucket.client)
    bucket.client.create_bucket(bucket.name)
    async with fresh_database(servers.database_url, "template1") as url:
        ours = {
            "database_url": secret(url),
            "data_directory": servers.settings.data_directory / bucket.name,
        }
        settings = servers.settings.model_copy(update=ours)
        changing = ChangingBucket(bucket, random.Random(f"{SEED} bucket"))  # noqa: S311 - repeatable
        attack = Attack(
            servers=replace(servers, bucket=bucket, settings=settings),
            bucket=changing,
            start=start_flow,
            environment=session.addresses.environment(),
            model=Model(session.settings, changing, DIMENSION),
            spending=Spending(servers.record, changing, MOST_LOST),
            random=random.Random(SEED),  # noqa: S311 - repeatable
            batch_size=BATCH_SIZE,
        )
        try:
            yield attack
        finally:
            await attack.close()
            if attack.faults:
                print(attack.story())
            print(f"seed {SEED}: {attack.runs} runs, killed: {dict(attack.kills)}", flush=True)


def _figures(attack: Attack, when: str) -> list[Figure]:
    kills, spent = sum(attack.kills.values()), attack.spending
    in_flight = len(spent.lost) * BATCHES_IN_FLIGHT * BATCH_SIZE
    none, no_more = Bar("figure", "at most", 0), Bar("difference", "at most", 0)
    return [
        Figure(f"faults {when}", len(attack.faults), kills, "kills", "", none),
        Figure(
            f"answers lost {when}",
            sum(spent.lost),
            in_flight,
            "images of the batches in flight",
            "answers",
            no_more,
        ),
        Figure(
            f"most lost at one kill {when}",
            max(spent.lost, default=0),
            spent.most_lost,
            "calls in flight",
            "answers",
            no_more,
        ),
        Figure(
            f"answers paid again {when}",
            spent.repeated,
            sum(spent.lost) + spent.superseded,
            "lost, or made worthless by the bucket",
            "answers",
            no_more,
        ),
        Figure(f"runs {when}", attack.runs, kills, "kills", ""),
    ]
