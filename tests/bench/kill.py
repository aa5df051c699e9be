"""What 25 kills -9 at random instants do to an index of 500 images, and what they cost."""

import random
import secrets
from pathlib import Path

from tasks.core.concurrency import BATCHES_IN_FLIGHT
from tests.bench.figures import Bar, Figure
from tests.bench.session import Session
from tests.support.buckets import LocalBucket, storage_client
from tests.support.killing import BATCH_SIZE, Attack, Damage, assess, own_servers

TITLE = "Kill: the sync, its database and its model server, while the bucket changes"
KILLS = 25
IMAGES = 500
SEED = 20_261_123


async def measure(session: Session) -> list[Figure]:
    """Attack a sync, and compare the index with the bucket and the model."""
    client = storage_client(session.addresses.storage_endpoint)
    bucket = LocalBucket(f"kill-{secrets.token_hex(4)}", client)
    client.create_bucket(bucket.name)
    directory = _open_directory(session.scratch / "kill")
    endpoint = session.addresses.storage_endpoint
    async with own_servers(directory, endpoint, session.scratch / "data") as servers:
        attack = Attack(servers, bucket, random.Random(SEED))  # noqa: S311 - repeatable
        attack.fill(IMAGES)
        try:
            await attack.run(KILLS)
        finally:
            await attack.close()
        damage = await assess(attack)
    client.close()
    return _figures(attack, damage)


def _open_directory(directory: Path) -> Path:
    directory.mkdir()
    directory.chmod(0o755)  # Postgres is another user when we are root
    return directory


def _figures(attack: Attack, damage: Damage) -> list[Figure]:
    none = Bar("figure", "at most", 0)
    kills = f"{KILLS} kills"
    return [
        Figure("images lost", len(damage.lost), KILLS, kills, "images", none),
        Figure("images doubled", damage.doubled, KILLS, kills, "images", none),
        Figure(
            "images stale",
            len(damage.outdated | damage.wrong | damage.extra),
            KILLS,
            kills,
            "images",
            none,
        ),
        Figure(
            "calls repeated",
            damage.repeated,
            attack.flow_kills * BATCHES_IN_FLIGHT * BATCH_SIZE,
            "images of the batches in flight",
            "calls",
            Bar("ratio", "at most", 1.0),
        ),
        Figure(
            "calls repeated",
            damage.repeated,
            damage.allowed,
            "calls in flight at most",
            "calls",
            Bar("ratio", "at most", 1.0),
        ),
        Figure("pictures embedded", attack.contents, IMAGES, "at the beginning", "pictures"),
    ]
