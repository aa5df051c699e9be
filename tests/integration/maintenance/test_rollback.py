"""An earlier space comes back at once and without a call, and what it lacks is said before."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tasks.core.database.connections import Database, open_database
from tasks.core.errors import GuardStopped, SpaceBusy, IndexNameTaken, InvalidInput
from tasks.core.maintenance.drop_space import drop_space
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
SPACES = "SELECT dimension, status FROM birdwalk.spaces ORDER BY dimension"


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


async def test_the_view_goes_back_and_forth_between_spaces_without_a_call(
    settings: Settings, bucket: LocalBucket, database: Database, model_server: ModelServer, url: str
) -> None:
    await publish_both(settings, bucket)
    await model_server.reset()
    for dimension, other in ((128, 256), (256, 128), (128, 256)):
        report = await switch_space(database, INDEX, None, 0.0)
        assert (report.space.dimension, report.rows) == (dimension, 10)
        assert await fetch(url, SHOWN) == [(dimension,)]
        assert set(await fetch(url, SPACES)) == {(dimension, "active"), (other, "retired")}
    assert await model_server.calls() == 0


async def test_going_back_goes_to_the_space_that_served_last(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    await publish_both(settings, bucket)
    await sync(settings, bucket.name, dimension=512)
    assert (await switch_space(database, INDEX, None, 0.0)).space.dimension == 256
    assert (await switch_space(database, INDEX, None, 0.0)).space.dimension == 512


async def test_what_changed_since_a_space_served_is_said(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    bucket.put_pictures(10)
    await sync(settings, bucket.name, dimension=128)
    bucket.put("new.png", picture(50))
    bucket.put("newer.png", picture(51))
    bucket.put("0003.png", picture(52))
    bucket.delete("0004.png")
    await sync(settings, bucket.name, dimension=256)
    newest, oldest = await list_spaces(database, INDEX)
    assert (newest.space.dimension, newest.rows, newest.listed) == (256, 11, 11)
    assert (newest.missing, newest.outdated, newest.gone) == (0, 0, 0)
    assert (oldest.rows, oldest.missing, oldest.outdated, oldest.gone) == (10, 2, 1, 1)
    assert oldest.incomplete == pytest.approx(3 / 11)
    report = await switch_space(database, INDEX, None, 0.5)
    said = (
        rf"Against gs://{bucket.name}/ as listed at 20\d\d-.* UTC, 2 images came since it last"
        r" served \(new.png, newer.png\), 1 changed \(0003.png\)"
        r" and 1 left the bucket \(0004.png\)\.$"
    )
    assert re.match(said, report.changes)


async def test_a_space_that_lacks_too_much_is_refused_with_the_share_that_allows_it(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name, dimension=128)
    bucket.put("new.png", picture(50))
    await sync(settings, bucket.name, dimension=256)
    lacks = r"has 1 missing and 0 outdated of 5 images listed .*20.0%.*set max_incomplete=0.201"
    with pytest.raises(GuardStopped, match=lacks):
        await switch_space(database, INDEX, None, 0.1)
    assert await fetch(url, SHOWN) == [(256,)]
    await switch_space(database, INDEX, None, 0.201)
    assert await fetch(url, SHOWN) == [(128,)]


async def test_a_listing_says_nothing_of_what_it_does_not_cover(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    bucket.put_all(["birds/a.png", "birds/b.png", "planes/a.png"])
    await sync(settings, bucket.name, dimension=128)
    await sync(settings, bucket.name, dimension=256)
    bucket.delete("birds/a.png")
    bucket.delete("planes/a.png")
    await sync(settings, bucket.name, dimension=256, prefix="birds/")
    oldest = (await list_spaces(database, INDEX))[-1]
    assert (oldest.listed, oldest.gone, oldest.elsewhere) == (1, 1, 1)
    report = await switch_space(database, INDEX, None, 0.0)
    assert f"Against gs://{bucket.name}/birds/ as listed at" in report.changes
    assert report.changes.endswith("Not compared: 1 row of other buckets or prefixes.")
    await sync(settings, bucket.name, dimension=128, limit=1)
    cut_short = (await list_spaces(database, INDEX))[-1]
    assert (cut_short.listed, cut_short.gone, cut_short.missing) == (1, 0, 0)
    assert "cut short, so that nobody knows what left the bucket" in cut_short.changes


async def test_only_the_space_that_was_chosen_is_read(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    await sync(settings, bucket.name, dimension=512)
    # Whoever reads this one waits for ever.
    async with database.transaction() as connection:
        await connection.execute("LOCK TABLE birdwalk.space_2")
        async with asyncio.timeout(20):
            assert (await switch_space(database, INDEX, 1, 0.0)).rows == 10
    assert await fetch(url, SHOWN) == [(128,)]


async def test_a_space_brought_up_to_date_is_whole_again(
    settings: Settings, bucket: LocalBucket, database: Database, model_server: ModelServer
) -> None:
    await publish_both(settings, bucket)
    bucket.put("new.png", picture(50))
    await sync(settings, bucket.name, dimension=256)
    await model_server.reset()
    await sync(settings, bucket.name, dimension=128)
    assert await model_server.calls() == 1
    assert [report.incomplete for report in await list_spaces(database, INDEX)] == [0, 0]


async def test_a_space_that_never_passed_the_gate_is_not_shown(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name, dimension=128)
    async with open_run(options(bucket.name, dimension=256), settings, "test") as run:
        await prepare(run)
    half_made = await fetchval(url, "SELECT max(space_id) FROM birdwalk.spaces")
    with pytest.raises(GuardStopped, match=r"never shown.*dimension 256 to finish"):
        await switch_space(database, INDEX, half_made, 1.0)
    assert await fetch(url, SHOWN) == [(128,)]


async def test_a_refused_image_is_nothing_that_a_space_lacks(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    bucket.put("broken.png", b"no picture")
    await publish_both(settings, bucket)
    for report in await list_spaces(database, INDEX):
        assert (report.missing, report.incomplete) == (0, 0)


async def test_only_what_is_there_can_be_shown_or_dropped(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    assert await list_spaces(database, INDEX) == ()
    with pytest.raises(InvalidInput, match=r"no index 'image_embeddings'.*embed-images makes one"):
        await switch_space(database, INDEX, None, 0.1)
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    with pytest.raises(InvalidInput, match="no earlier space"):
        await switch_space(database, INDEX, None, 0.1)
    for act in (switch_space(database, INDEX, 77, 0.1), drop_space(database, settings, INDEX, 77)):
        with pytest.raises(InvalidInput, match="no space 77; it has 1"):
            await act


async def test_the_space_that_readers_see_is_not_dropped(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    bucket.put("broken.png", b"no picture")
    await publish_both(settings, bucket)
    active, retired = [report.space.space_id for report in await list_spaces(database, INDEX)]
    with pytest.raises(InvalidInput, match="shows: it was left alone"):
        await drop_space(database, settings, INDEX, active)
    assert (await drop_space(database, settings, INDEX, retired)).rows == 10
    assert await fetch(url, SPACES) == [(256, "active")]
    assert await fetchval(url, f"SELECT to_regclass('birdwalk.space_{retired}')") is None
    assert await fetch(url, "SELECT DISTINCT space_id FROM birdwalk.refusals") == [(active,)]
    assert await fetch(url, SHOWN) == [(256,)]
    # What was dropped can be made anew.
    assert (await sync(settings, bucket.name, dimension=128)).verdict.rows == 10


async def test_an_index_that_a_run_holds_is_neither_switched_nor_are_its_spaces_dropped(
    settings: Settings, bucket: LocalBucket, database: Database
) -> None:
    await publish_both(settings, bucket)
    async with open_run(options(bucket.name), settings, "run busy-wren"):
        for act in (
            switch_space(database, INDEX, None, 1.0),
            drop_space(database, settings, INDEX, 1),
        ):
            with pytest.raises(SpaceBusy, match="busy-wren"):
                await act
    await switch_space(database, INDEX, None, 0.0)


async def test_readers_keep_their_rights_and_never_miss_the_index(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    await execute(url, "GRANT SELECT ON image_embeddings TO PUBLIC")
    rights = "SELECT relacl::text FROM pg_class WHERE oid = 'image_embeddings'::regclass"
    before = await fetchval(url, rights)
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
    for _ in range(6):
        await switch_space(database, INDEX, None, 0.0)
    over.set()
    await reader
    assert seen == {128, 256}
    assert await fetchval(url, rights) == before is not None


async def test_a_view_that_is_not_ours_is_left_alone(
    settings: Settings, bucket: LocalBucket, database: Database, url: str
) -> None:
    await publish_both(settings, bucket)
    await execute(url, "DROP VIEW image_embeddings")
    await execute(url, "CREATE VIEW image_embeddings AS SELECT 'theirs' AS whose")
    with pytest.raises(IndexNameTaken, match="not one of birdwalk's views"):
        await switch_space(database, INDEX, None, 1.0)
    assert await fetch(url, "SELECT whose FROM image_embeddings") == [("theirs",)]
    assert await fetch(url, SPACES) == [(128, "retired"), (256, "active")]
