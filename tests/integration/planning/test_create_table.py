"""Every space has one table, made for its dimension, beside nothing of anybody else's."""

import asyncio

import pytest

from tasks.core.errors import IndexNameTaken
from tasks.core.planning.create_table import create_table
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.options import SyncOptions
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval, secret
from tests.support.model_server import ModelServer
from tests.support.sync import options, sync

COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attstorage::text, attnotnull
FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum
"""


async def made(settings: Settings, asked: SyncOptions) -> Space:
    async with open_run(asked, settings, "test") as run:
        return await create_table(run)


async def test_vectors_are_of_the_spaces_dimension_and_kept_in_line_and_images_are_the_indexes(
    settings: Settings, url: str
) -> None:
    space = await made(settings, options("photos", dimension=512))
    assert await fetch(url, COLUMNS, "birdwalk.vectors_1") == [
        ("content_key", "text", "x", True),
        # Main: exact scans are 2.7 times faster than with vectors in TOAST.
        ("embedding", "vector(512)", "m", True),
        ("embedded_at", "timestamp with time zone", "p", True),
    ]
    keys = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass"
    assert ("PRIMARY KEY (bucket, image_id) INCLUDE (generation, content_key)",) in await fetch(
        url, keys, str(space.images)
    )
    other = await made(settings, options("photos", dimension=128))
    assert (str(space.images), str(space.vectors)) == (
        '"birdwalk"."images_1"',
        '"birdwalk"."vectors_1"',
    )
    assert (other.images, str(other.vectors)) == (space.images, '"birdwalk"."vectors_2"')


async def test_making_it_again_changes_nothing(settings: Settings, url: str) -> None:
    oids = "SELECT oid FROM pg_class WHERE relnamespace = 'birdwalk'::regnamespace ORDER BY oid"
    first = await made(settings, options("photos"))
    before = await fetch(url, oids)
    assert await made(settings, options("photos")) == first
    assert await fetch(url, oids) == before
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.spaces") == 1


async def test_each_index_dimension_and_crop_has_a_space_of_its_own(settings: Settings) -> None:
    spaces = [
        await made(settings, options("photos", index=index, dimension=dimension, crop=crop))
        for index in ("ours", "theirs")
        for dimension in (128, 256)
        for crop in ("none", "subject")
    ]
    assert len({str(space.vectors) for space in spaces}) == 8
    assert len({str(space.images) for space in spaces}) == 2
    assert {space.status for space in spaces} == {"loading"}


@pytest.mark.parametrize(
    ("taken", "kind"),
    [
        ("CREATE TABLE image_embeddings (precious text)", "r"),
        ("CREATE VIEW image_embeddings AS SELECT 1 AS precious", "v"),
        ("CREATE MATERIALIZED VIEW image_embeddings AS SELECT 1 AS precious", "m"),
    ],
)
async def test_a_name_that_somebody_else_uses_is_left_alone(
    settings: Settings, url: str, taken: str, kind: str
) -> None:
    await execute(url, taken)
    with pytest.raises(IndexNameTaken, match=r"image_embeddings.*left alone.*another index name"):
        await made(settings, options("photos"))
    found = "SELECT relkind::text FROM pg_class WHERE relname = 'image_embeddings'"
    assert await fetch(url, found) == [(kind,)]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.spaces") == 0


async def test_an_empty_database_is_enough_also_for_two_first_runs_at_once(
    settings: Settings, bare_database_url: str, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(3)
    settings = settings.model_copy(update={"database_url": secret(bare_database_url)})
    await asyncio.gather(
        *(sync(settings, bucket.name, index=f"index_{number}") for number in range(4))
    )
    for number in range(4):
        rows = f"SELECT count(*) FROM index_{number}"  # noqa: S608 - ours
        assert await fetchval(bare_database_url, rows) == 3
    # Where two embed at once, each may pay.
    assert 3 <= await model_server.answers() <= 12


async def test_the_extension_may_be_in_a_schema_of_its_own(
    settings: Settings, bare_database_url: str, bucket: LocalBucket, model_server: ModelServer
) -> None:
    await execute(bare_database_url, "CREATE SCHEMA tools; CREATE EXTENSION vector SCHEMA tools")
    bucket.put_pictures(3)
    settings = settings.model_copy(update={"database_url": secret(bare_database_url)})
    done = await sync(settings, bucket.name)
    assert done.published.images == await model_server.answers() == 3
