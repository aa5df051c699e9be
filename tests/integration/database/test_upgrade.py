"""A database that an earlier version made is brought up to date when it is opened."""

import asyncio

import asyncpg
import pytest

from tasks.core.database.connections import open_database
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import open_searcher
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval
from tests.support.sync import sync

EARLIER = """
ALTER TABLE birdwalk.pending DROP COLUMN error;
ALTER TABLE birdwalk.batches DROP COLUMN durable;
ALTER TABLE birdwalk.runs DROP COLUMN given_up;
DROP INDEX birdwalk.pending_twins;
DROP INDEX birdwalk.spaces_one_active;
"""
INDEXES = """
SELECT to_regclass('birdwalk.pending_twins')::text,
    to_regclass('birdwalk.spaces_one_active')::text
"""
BATCHES = "SELECT count(*) FROM birdwalk.batches WHERE durable"


async def test_an_earlier_database_gets_what_it_lacks_and_keeps_what_it_has(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    await execute(url, EARLIER)
    bucket.put("new.png")
    assert (await sync(settings, bucket.name)).total("calls") == 1
    assert await fetchval(url, BATCHES) == 2
    assert None not in (await fetch(url, INDEXES))[0]


@pytest.mark.parametrize("table", ["pending", "batches", "spaces", "runs", "objects", "refusals"])
async def test_opening_a_database_waits_for_no_run_that_is_under_way(
    settings: Settings, url: str, table: str
) -> None:
    async with open_database(settings):
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction(), asyncio.timeout(20):
                # As a run does, for as long as its transaction has written there.
                await connection.execute(f"LOCK TABLE birdwalk.{table} IN ROW EXCLUSIVE MODE")
                async with open_database(settings):
                    pass
        finally:
            await connection.close()


async def test_an_earlier_database_that_knows_no_ef_search_is_searched_and_brought_up_to_date(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    await execute(
        url,
        "ALTER TABLE birdwalk.spaces DROP COLUMN ef_search, DROP COLUMN measured_at,"
        " DROP COLUMN measured_writes, DROP COLUMN measured_index",
    )
    async with open_searcher(settings) as searcher:
        answer = await find_similar(searcher, "image_embeddings", Question(image_id="0001.png"))
    assert (len(answer.neighbours), answer.space.ef_search) == (2, 100)
    assert (await sync(settings, bucket.name)).verdict.failed == ()


async def test_opening_a_database_waits_for_no_reader(settings: Settings) -> None:
    async with (
        open_database(settings) as database,
        database.transaction() as reader,
        asyncio.timeout(10),
    ):
        await reader.fetch("SELECT FROM birdwalk.spaces")
        async with open_database(settings):
            pass
