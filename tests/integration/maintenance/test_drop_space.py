"""A space that is dropped leaves nothing behind but what was paid for it, in the account."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tasks.core.database.connections import Database, open_database
from tasks.core.errors import InvalidInput, SpaceBusy
from tasks.core.maintenance.drop_space import drop_index, drop_space
from tasks.core.maintenance.rollback import list_spaces, switch_space
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tasks.core.spaces.registry import find_space
from tasks.core.spaces.view import hold_index, show_space
from tests.integration.maintenance.test_prune import die_with_parts
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval
from tests.support.sync import options, sync

INDEX = "image_embeddings"
SPACES = """
    SELECT spaces.space_id, dimension, spaces.space_id = indexes.space_id
    FROM birdwalk.spaces JOIN birdwalk.indexes USING (index_id)
"""
SHOWN = "SELECT count(*), max(vector_dims(embedding)) FROM image_embeddings"
OWN_TABLES = """
    SELECT tablename FROM pg_tables
    WHERE schemaname = 'birdwalk' AND tablename ~ '_[0-9]+$' ORDER BY 1
"""
ROWS_OF_SPACE_1 = """
    SELECT (SELECT count(*) FROM birdwalk.refusals WHERE space_id = 1),
        (SELECT count(*) FROM birdwalk.unused_contents WHERE space_id = 1)
"""


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """An open database."""
    async with open_database(settings) as opened:
        yield opened


async def publish_both(settings: Settings, bucket: LocalBucket) -> None:
    """Fill and publish 128 dimensions, then 256: ten images and a refusal each."""
    bucket.put_pictures(10)
    bucket.put("broken.png", b"no picture")
    await sync(settings, bucket.name, dimension=128)
    await sync(settings, bucket.name, dimension=256)


async def test_a_space_goes_with_all_that_was_its_own_and_readers_see_what_they_saw(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    await execute(url, "INSERT INTO birdwalk.unused_contents VALUES (1, 'old'), (2, 'old')")
    assert await fetch(url, ROWS_OF_SPACE_1) == [(1, 1)]
    with pytest.raises(InvalidInput, match=r"Space 2 is what index .* shows: it was left alone"):
        await drop_space(database, settings, INDEX, 2)
    with pytest.raises(InvalidInput, match="no space 77; it has 2, 1"):
        await drop_space(database, settings, INDEX, 77)
    dropped = await drop_space(database, settings, INDEX, 1)
    assert (dropped.space.dimension, dropped.vectors) == (128, 10)
    assert await fetch(url, SPACES) == [(2, 256, True)]
    assert await fetch(url, OWN_TABLES) == [("images_1",), ("vectors_2",)]
    assert await fetch(url, ROWS_OF_SPACE_1) == [(0, 0)]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 1
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.work WHERE run_id = 1") == 0
    assert await fetch(url, SHOWN) == [(10, 256)]
    # What was dropped can be made anew.
    await sync(settings, bucket.name, dimension=128)
    assert await fetch(url, SHOWN) == [(10, 128)]


async def test_a_space_that_a_run_holds_is_not_dropped(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    async with open_run(options(bucket.name, dimension=128), settings, "run busy-wren"):
        with pytest.raises(SpaceBusy, match=r"busy-wren"):
            await drop_space(database, settings, INDEX, 1)
        with pytest.raises(SpaceBusy, match=r"busy-wren"):
            await drop_index(settings, INDEX)
    assert len(await fetch(url, SPACES)) == 2
    assert await fetch(url, SHOWN) == [(10, 256)]


async def test_a_space_that_a_rollback_shows_meanwhile_is_not_dropped(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    async with database.transaction() as connection:
        await hold_index(connection, INDEX)
        dropping = asyncio.create_task(drop_space(database, settings, INDEX, 1))
        await asyncio.sleep(0.5)
        assert not dropping.done()
        space = await find_space(connection, options(bucket.name).space)
        assert space is not None
        await show_space(connection, space, database.extension_schema)
    with pytest.raises(InvalidInput, match="left alone"):
        await dropping
    assert await fetch(url, SHOWN) == [(10, 128)]


@pytest.mark.parametrize("whole_index", [False, True])
async def test_what_dead_runs_had_paid_for_a_space_is_counted_and_removed(
    settings: Settings, bucket: LocalBucket, database: Database, url: str, *, whole_index: bool
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name, dimension=128)
    dead = await die_with_parts(settings, bucket, dimension=256)
    other = await die_with_parts(settings, bucket, dimension=512)
    # As if by SIGKILL, at once.
    await execute(url, "UPDATE birdwalk.batches SET calls = 0, answers = 0 WHERE run_id >= 2")
    await execute(
        url,
        "UPDATE birdwalk.runs SET verdict = 'running', finished_at = NULL, calls = 0, price_usd = 0"
        " WHERE run_id >= 2",
    )
    if whole_index:
        await drop_index(settings, INDEX)
    else:
        await drop_space(database, settings, INDEX, 2)
    account = "SELECT calls, round(price_usd, 4)::text, verdict, message FROM birdwalk.runs"
    killed = (3, "0.0003", "failed", "killed")
    assert await fetch(url, f"{account} WHERE run_id = 2") == [killed]
    assert not (dead / "parts").exists()
    work = await fetch(url, "SELECT DISTINCT run_id FROM birdwalk.work WHERE run_id > 1")
    if whole_index:
        assert await fetch(url, f"{account} WHERE run_id = 3") == [killed]
        assert not (other / "parts").exists()
        assert work == []
    else:
        assert (other / "parts" / "part-000001.csv").exists()
        assert work == [(3,)]


async def test_an_index_goes_whole_and_no_other_and_the_history_of_its_runs_stays(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    await sync(settings, bucket.name, dimension=128, index="other")
    await drop_index(settings, INDEX)
    assert await list_spaces(database, INDEX) == ()
    assert await fetchval(url, "SELECT to_regclass('image_embeddings')") is None
    [(index_id, left)] = await fetch(url, "SELECT index_id, index_name FROM birdwalk.indexes")
    assert left == "other"
    assert await fetch(url, OWN_TABLES) == [(f"images_{index_id}",), ("vectors_3",)]
    assert await fetch(url, "SELECT DISTINCT run_id FROM birdwalk.listings") == [(3,)]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.runs") == 3
    assert await fetchval(url, "SELECT count(*) FROM other") == 10
    await drop_index(settings, INDEX)
    with pytest.raises(InvalidInput, match="no index"):
        await switch_space(database, INDEX, None, 0.0)
    # Made anew, it takes the vectors that the other index has.
    assert (await sync(settings, bucket.name, dimension=128)).plan.calls == 0
