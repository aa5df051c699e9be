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


async def test_the_table_is_of_the_spaces_dimension_and_keeps_vectors_in_line(
    settings: Settings, url: str
) -> None:
    space = await made(settings, options("photos", dimension=512))
    table = f"birdwalk.{space.table}"
    assert await fetch(url, COLUMNS, table) == [
        ("bucket", "text", "x", True),
        ("image_id", "text", "x", True),
        ("content", "text", "x", False),
        # Main: exact scans are 2.7 times faster than with vectors in TOAST.
        ("embedding", "vector(512)", "m", True),
        ("generation", "bigint", "p", True),
        ("content_hash", "text", "x", False),
        ("embedded_at", "timestamp with time zone", "p", True),
    ]
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass"
    assert ("PRIMARY KEY (bucket, image_id) INCLUDE (generation, content_hash)",) in await fetch(
        url, f"{key} AND contype = 'p'", table
    )


async def test_making_it_again_changes_nothing(settings: Settings, url: str) -> None:
    first = await made(settings, options("photos"))
    oid = await fetchval(url, "SELECT $1::text::regclass::oid", f"birdwalk.{first.table}")
    assert await made(settings, options("photos")) == first
    assert await fetchval(url, "SELECT $1::text::regclass::oid", f"birdwalk.{first.table}") == oid
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.spaces") == 1


async def test_each_index_and_dimension_has_a_table_of_its_own(settings: Settings) -> None:
    spaces = [
        await made(settings, options("photos", index=index, dimension=dimension))
        for index in ("ours", "theirs")
        for dimension in (128, 256)
    ]
    assert len({space.table for space in spaces}) == 4
    assert {space.status for space in spaces} == {"loading"}


async def test_a_failed_space_is_filled_again_under_its_number(
    settings: Settings, url: str
) -> None:
    first = await made(settings, options("photos"))
    await execute(url, "UPDATE birdwalk.spaces SET status = 'failed'")
    second = await made(settings, options("photos"))
    assert (second.space_id, second.status) == (first.space_id, "loading")


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
    rows = "SELECT index_name, status, rows FROM birdwalk.spaces ORDER BY index_name"
    assert await fetch(bare_database_url, rows) == [
        (f"index_{number}", "active", 3) for number in range(4)
    ]
    assert await model_server.answers() == 12


async def test_the_extension_may_be_in_a_schema_of_its_own(
    settings: Settings, bare_database_url: str, bucket: LocalBucket, model_server: ModelServer
) -> None:
    await execute(bare_database_url, "CREATE SCHEMA tools; CREATE EXTENSION vector SCHEMA tools")
    bucket.put_pictures(3)
    settings = settings.model_copy(update={"database_url": secret(bare_database_url)})
    done = await sync(settings, bucket.name)
    assert done.verdict.rows == await model_server.answers() == 3
