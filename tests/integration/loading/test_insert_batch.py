"""A batch is in the space with its bookkeeping, or not at all; and only once."""

import asyncio

import asyncpg
import numpy as np
import pytest

from tasks.core.csv_parts import read_part
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import DatabaseUnavailable, SpaceBusy
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.runs.run import Run
from tasks.core.types import Counts, Vector
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval
from tests.support.sync import prepare
from tests.support.waiting import until

DURABLE = "SELECT count(*) FROM birdwalk.batches WHERE durable"
ROWS = "SELECT count(*) FROM birdwalk.vectors_1"
WRITES = "SELECT writes FROM birdwalk.spaces"
STORED = """
SELECT image_id, embedding::real[]
FROM birdwalk.vectors_1 JOIN birdwalk.listings USING (content_key)
"""
DIE_IN_MID_COPY = """
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM birdwalk.vectors_1) = 5 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER die BEFORE INSERT ON birdwalk.vectors_1 FOR EACH ROW EXECUTE FUNCTION die()
"""


@pytest.fixture
async def embedded(run: Run, bucket: LocalBucket) -> Counts:
    """The counts of a batch of ten that is embedded, and is about to be inserted."""
    bucket.put_pictures(10)
    await prepare(run)
    return await embed_batch(run, 1)


async def nothing_is_left(url: str) -> bool:
    """Return whether neither vectors nor bookkeeping are of the batch."""
    return (await fetchval(url, ROWS), await fetchval(url, DURABLE)) == (0, 0)


async def test_the_space_holds_the_very_numbers_that_were_embedded(
    run: Run, embedded: Counts, url: str
) -> None:
    assert await insert_batch(run, 1, embedded) == embedded
    part = read_part(run.part(1), 128)
    table: dict[str, Vector] = {
        name: np.array(vector, np.float32) for name, vector in await fetch(url, STORED)
    }
    assert part.keys() == table.keys()
    for name, vector in part.items():
        assert np.array_equal(table[name], vector)
    counts = "SELECT images, embedded, calls, answers, durable FROM birdwalk.batches"
    assert await fetch(url, counts) == [(10, 10, 10, 10, True)]
    assert await fetchval(url, WRITES) == 1
    # A repeated insert counts nothing twice, and writes nothing.
    before = await fetch(url, "TABLE birdwalk.batches"), await fetchval(url, WRITES)
    await insert_batch(run, 1, embedded)
    assert (await fetch(url, "TABLE birdwalk.batches"), await fetchval(url, WRITES)) == before
    assert await fetchval(url, ROWS) == 10


async def test_a_backend_killed_in_mid_copy_leaves_nothing_and_a_repeat_works(
    run: Run, embedded: Counts, url: str
) -> None:
    await execute(url, DIE_IN_MID_COPY)
    with pytest.raises(DatabaseUnavailable, match="What was committed is safe"):
        await insert_batch(run, 1, embedded)
    assert await nothing_is_left(url)
    await execute(url, "DROP FUNCTION die CASCADE")
    await insert_batch(run, 1, embedded)
    assert (await fetchval(url, ROWS), await fetchval(url, DURABLE)) == (10, 1)


async def test_a_batch_cancelled_while_it_waits_leaves_nothing(
    run: Run, embedded: Counts, url: str
) -> None:
    async def somebody_waits() -> bool:
        return bool(await fetchval(url, "SELECT count(*) FROM pg_locks WHERE NOT granted"))

    blocker = await asyncpg.connect(url)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE birdwalk.vectors_1 IN ACCESS EXCLUSIVE MODE")
        insert = asyncio.create_task(insert_batch(run, 1, embedded))
        await until(somebody_waits)
        insert.cancel()
        with pytest.raises(asyncio.CancelledError):
            await insert
    await blocker.close()
    assert await nothing_is_left(url)
    await insert_batch(run, 1, embedded)
    assert await fetchval(url, ROWS) == 10


async def test_a_run_that_is_over_writes_nothing(run: Run, embedded: Counts, url: str) -> None:
    await execute(url, "UPDATE birdwalk.runs SET verdict = 'failed'")
    with pytest.raises(SpaceBusy, match=f"Run {run.run_id} is over"):
        await insert_batch(run, 1, embedded)
    assert await nothing_is_left(url)
