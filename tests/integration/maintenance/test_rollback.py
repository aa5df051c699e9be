"""An earlier space comes back at once and without a call, and what readers would lose is said."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tasks.core.database.connections import Database, open_database
from tasks.core.errors import GuardStopped, IndexNameTaken, InvalidInput, SpaceBusy
from tasks.core.maintenance.rollback import list_spaces, switch_space
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync
from tests.support.waiting import until

INDEX = "image_embeddings"
SHOWN = "SELECT DISTINCT vector_dims(embedding) FROM image_embeddings"
RIGHTS = "SELECT relacl::text FROM pg_class WHERE oid = 'image_embeddings'::regclass"
REFUSE = """
    INSERT INTO birdwalk.refusals (space_id, content_key, reason)
    SELECT 1, content_key, 'cannot be decoded' FROM birdwalk.images_1 WHERE image_id = $1
"""


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """An open database."""
    async with open_database(settings) as opened:
        yield opened


async def publish_both(settings: Settings, bucket: LocalBucket) -> None:
    """Fill and publish 128 dimensions, then 256: ten images each."""
    bucket.put_pictures(10)
    await sync(settings, bucket.name, dimension=128)
    await sync(settings, bucket.name, dimension=256)


async def test_the_view_goes_back_and_forth_without_a_call_and_readers_never_miss_it(
    settings: Settings, bucket: LocalBucket, database: Database, model_server: ModelServer, url: str
) -> None:
    await publish_both(settings, bucket)
    await model_server.reset()
    await execute(url, "GRANT SELECT ON image_embeddings TO PUBLIC")
    rights = await fetchval(url, RIGHTS)
    over = asyncio.Event()
    seen: set[int] = set()

    async def read() -> None:
        connection = await asyncpg.connect(url, statement_cache_size=0)
        while not over.is_set():
            rows = await connection.fetch("SELECT vector_dims(embedding) FROM image_embeddings")
            assert len(rows) == 10
            assert len({row[0] for row in rows}) == 1
            seen.add(rows[0][0])
        await connection.close()

    reader = asyncio.create_task(read())

    async def has_read() -> bool:
        return bool(seen) or reader.done()

    await until(has_read)
    for dimension, status in ((128, "retired"), (256, "active")) * 3:
        report = await switch_space(database, INDEX, None, 0.0)
        assert (report.space.dimension, report.shown) == (dimension, 10)
        assert report.changes == "It has all of the 10 images that readers saw before."
        assert await fetch(url, SHOWN) == [(dimension,)]
        assert (await list_spaces(database, INDEX))[0].space.status == status
    over.set()
    await reader
    assert seen == {128, 256}
    assert await fetchval(url, RIGHTS) == rights is not None
    assert await model_server.calls() == 0


async def test_going_back_goes_to_the_space_that_readers_saw_last(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    await publish_both(settings, bucket)
    await sync(settings, bucket.name, dimension=512)
    assert (await switch_space(database, INDEX, None, 0.0)).space.dimension == 256
    assert (await switch_space(database, INDEX, None, 0.0)).space.dimension == 512
    assert (await switch_space(database, INDEX, 1, 0.0)).space.dimension == 128


async def test_what_readers_would_lose_is_said_and_more_than_was_allowed_is_not_done(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    bucket.put_pictures(10)
    await sync(settings, bucket.name, dimension=128)
    for number, name in enumerate(("0003.png", "new.png", "newer.png", "odd.png")):
        bucket.put(name, picture(50 + number))
    bucket.delete("0004.png")
    await sync(settings, bucket.name, dimension=256)
    await execute(url, REFUSE, "odd.png")
    newest, oldest = await list_spaces(database, INDEX)
    assert (newest.vectors, newest.shown, newest.losses.missing.images) == (12, 12, 0)
    # The vector of what left the bucket is kept for a while, and not shown.
    assert (oldest.vectors, oldest.shown, oldest.seen) == (10, 8, 12)
    assert (oldest.losses.missing.images, oldest.losses.refused.images) == (3, 1)
    at = f"gs://{bucket.name}"
    changes = (
        f"Of the 12 images that readers saw, it has no vector of 3 (such as {at}/0003.png,"
        f" {at}/new.png, {at}/newer.png) and was refused 1 (such as {at}/odd.png)."
    )
    with pytest.raises(GuardStopped, match=r"25\.0% are.*set max_incomplete=0\.251") as stopped:
        await switch_space(database, INDEX, None, 0.24)
    assert changes in str(stopped.value)
    assert await fetch(url, SHOWN) == [(256,)]
    report = await switch_space(database, INDEX, None, 0.25)
    assert (report.changes, report.shown) == (changes, 8)
    assert await fetch(
        url, "SELECT count(*), max(vector_dims(embedding)) FROM image_embeddings"
    ) == [(8, 128)]
    # Brought up to date, it lacks only what it was refused, which does not count.
    assert (await sync(settings, bucket.name, dimension=128)).plan.calls == 3
    await switch_space(database, INDEX, None, 0.0)
    report = await switch_space(database, INDEX, None, 0.0)
    assert report.changes.endswith(f"it was refused 1 (such as {at}/odd.png).")


async def test_only_a_space_that_is_there_and_passed_the_gate_is_shown(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    assert await list_spaces(database, INDEX) == ()
    with pytest.raises(InvalidInput, match=r"no index 'image_embeddings'.*embed-images makes one"):
        await switch_space(database, INDEX, None, 0.1)
    bucket.put_pictures(3)
    await sync(settings, bucket.name, dimension=128)
    async with open_run(options(bucket.name, dimension=256), settings, "test") as run:
        await prepare(run)
    with pytest.raises(InvalidInput, match="no earlier space"):
        await switch_space(database, INDEX, None, 0.1)
    with pytest.raises(InvalidInput, match="no space 77; it has 2, 1"):
        await switch_space(database, INDEX, 77, 0.1)
    with pytest.raises(GuardStopped, match=r"never shown.*dimension 256 to finish"):
        await switch_space(database, INDEX, 2, 1.0)
    assert await fetch(url, SHOWN) == [(128,)]


async def test_a_run_of_the_shown_space_keeps_it_and_a_run_of_another_does_not(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    async with open_run(options(bucket.name, dimension=256), settings, "run busy-wren"):
        with pytest.raises(SpaceBusy, match=r"Space 2, .*busy-wren.*Nothing was changed"):
            await switch_space(database, INDEX, None, 0.0)
    assert await fetch(url, SHOWN) == [(256,)]
    async with open_run(options(bucket.name, dimension=128), settings, "run busy-wren"):
        await switch_space(database, INDEX, None, 0.0)
    assert await fetch(url, SHOWN) == [(128,)]


async def test_a_view_that_is_not_ours_is_left_alone(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    await execute(url, "DROP VIEW image_embeddings")
    await execute(url, "CREATE VIEW image_embeddings AS SELECT 'theirs' AS whose")
    with pytest.raises(IndexNameTaken, match="not one of birdwalk's views"):
        await switch_space(database, INDEX, None, 1.0)
    assert await fetch(url, "SELECT whose FROM image_embeddings") == [("theirs",)]
    assert [found.space.status for found in await list_spaces(database, INDEX)] == [
        *("active", "retired")
    ]
