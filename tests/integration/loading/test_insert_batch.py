"""A batch is in the table with its bookkeeping, or not at all; and only once."""

import asyncio

import asyncpg
import numpy as np
import pytest

from tasks.core.csv_parts import read_part
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import DatabaseUnavailable
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.planning.create_table import create_table
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tasks.core.spaces.rows import Row, load_rows
from tasks.core.types import Vector
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import prepare, sync
from tests.support.waiting import until

BATCHES = "SELECT count(*) FROM birdwalk.batches"
DIE_IN_MID_COPY = """
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.image_id = '0005.png' THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER die BEFORE INSERT ON birdwalk.space_1 FOR EACH ROW EXECUTE FUNCTION die()
"""


def unit(place: int) -> Vector:
    vector = np.zeros(128, np.float32)
    vector[place] = 1
    return vector


async def rows(url: str) -> list[tuple[str, int, str]]:
    table = "SELECT image_id, generation, content FROM birdwalk.space_1 ORDER BY bucket, image_id"
    return [(name, generation, content) for name, generation, content in await fetch(url, table)]


async def stored(url: str) -> dict[str, Vector]:
    table = "SELECT image_id, embedding::real[] FROM birdwalk.space_1"
    return {name: np.array(vector, np.float32) for name, vector in await fetch(url, table)}


async def load(run: Run, space: Space, fresh: list[Row], changed: list[Row]) -> None:
    async with run.database.transaction() as connection:
        await load_rows(connection, space, fresh, changed)


async def test_the_table_holds_the_very_numbers_that_were_embedded(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    names = bucket.put_pictures(10)
    await prepare(run)
    report = await embed_batch(run, 1)
    assert await insert_batch(run, report) == report
    assert await rows(url) == [
        (name, bucket.generation(name), f"gs://{bucket.name}/{name}") for name in names
    ]
    part, table = read_part(run.part(1), 128), await stored(url)
    assert part.keys() == table.keys()
    for name, vector in part.items():
        assert np.array_equal(table[name], vector)
    counts = "SELECT images, embedded, calls, answers FROM birdwalk.batches"
    assert await fetch(url, counts) == [(10, 10, 10, 10)]


async def test_a_backend_killed_in_mid_copy_leaves_nothing_and_a_repeat_works(
    run: Run, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(10)
    await prepare(run)
    report = await embed_batch(run, 1)
    await execute(url, DIE_IN_MID_COPY)
    with pytest.raises(DatabaseUnavailable, match="What was committed is safe"):
        await insert_batch(run, report)
    assert await rows(url) == []
    assert await fetchval(url, BATCHES) == 0
    await execute(url, "DROP FUNCTION die CASCADE")
    await insert_batch(run, report)
    assert len(await rows(url)) == 10
    assert await fetchval(url, BATCHES) == 1
    assert await model_server.calls() == 10


async def test_a_batch_cancelled_while_it_waits_leaves_nothing(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(10)
    await prepare(run)
    report = await embed_batch(run, 1)

    async def somebody_waits() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return bool(await fetchval(url, waiting))

    blocker = await asyncpg.connect(url)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE birdwalk.space_1 IN ACCESS EXCLUSIVE MODE")
        insert = asyncio.create_task(insert_batch(run, report))
        await until(somebody_waits)
        insert.cancel()
        with pytest.raises(asyncio.CancelledError):
            await insert
    await blocker.close()
    assert await rows(url) == []
    assert await fetchval(url, BATCHES) == 0
    await insert_batch(run, report)
    assert len(await rows(url)) == 10


async def test_a_repeated_insert_counts_nothing_twice(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(10)
    await prepare(run)
    report = await embed_batch(run, 1)
    await insert_batch(run, report)
    before = await fetch(url, "TABLE birdwalk.batches")
    await insert_batch(run, report)
    assert await fetch(url, "TABLE birdwalk.batches") == before
    assert len(await rows(url)) == 10


async def test_a_changed_image_replaces_its_row(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    old = await stored(url)
    generation = bucket.put("0001.png", picture(99))
    after = await sync(settings, bucket.name)
    assert (after.plan.images("changed"), after.verdict.rows) == (1, 3)
    new = await stored(url)
    assert [name for name in old if not np.array_equal(old[name], new[name])] == ["0001.png"]
    assert generation in [found for _, found, _ in await rows(url)]


async def test_rows_thought_new_that_exist_are_upserted_with_all_others(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    space = await create_table(run)
    await load(run, space, [(bucket.name, "b.png", unit(0), 5, None)], [])
    fresh: list[Row] = [
        (bucket.name, f"{name}.png", unit(place), 6, "md5:x") for place, name in enumerate("abc", 1)
    ]
    await load(run, space, fresh, [])
    assert [row[:2] for row in await rows(url)] == [*(("a.png", 6), ("b.png", 6), ("c.png", 6))]
    table = await stored(url)
    assert np.array_equal(table["b.png"], unit(2))


async def test_an_older_generation_never_replaces_a_newer_one(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    space = await create_table(run)
    await load(run, space, [(bucket.name, "a.png", unit(0), 9, None)], [])
    await load(run, space, [], [(bucket.name, "a.png", unit(1), 8, None)])
    await load(run, space, [(bucket.name, "a.png", unit(2), 7, None)], [])
    assert [row[:2] for row in await rows(url)] == [("a.png", 9)]
    assert np.array_equal((await stored(url))["a.png"], unit(0))


async def test_new_and_changed_rows_of_a_batch_go_in_together(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    space = await create_table(run)
    await load(run, space, [(bucket.name, "a.png", unit(0), 1, None)], [])
    fresh: list[Row] = [(bucket.name, "b.png", unit(1), 1, None)]
    changed: list[Row] = [(bucket.name, "a.png", unit(2), 2, None)]
    await load(run, space, fresh, changed)
    assert [row[:2] for row in await rows(url)] == [("a.png", 2), ("b.png", 1)]


async def test_images_of_one_name_in_two_buckets_are_two_rows(run: Run, url: str) -> None:
    space = await create_table(run)
    await load(run, space, [(name, "a.png", unit(0), 1, None) for name in ("one", "two")], [])
    assert [row[2] for row in await rows(url)] == ["gs://one/a.png", "gs://two/a.png"]
