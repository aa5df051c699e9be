"""Readers see one whole space of an index at any moment, and keep their rights to it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tasks.core.errors import DatabaseError, GuardStopped, InvalidIndexName
from tasks.core.publishing.publish import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, sync

SPACES = "SELECT dimension, status FROM birdwalk.spaces ORDER BY dimension"
DIMENSIONS = "SELECT DISTINCT vector_dims(embedding) FROM image_embeddings"


@asynccontextmanager
async def role(url: str, name: str) -> AsyncIterator[str]:
    """A role of a name that must be quoted, with no right to anything yet."""
    made = f'a "{name}" {secrets.token_hex(4)}'
    quoted = '"' + made.replace('"', '""') + '"'
    await execute(url, f"CREATE ROLE {quoted}")
    yield quoted
    await execute(url, f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


@pytest.fixture
async def reader(url: str) -> AsyncIterator[str]:
    """A role that reads."""
    async with role(url, "reader") as name:
        yield name


@pytest.fixture
async def owner(url: str) -> AsyncIterator[str]:
    """A role that is not who publishes."""
    async with role(url, "owner") as name:
        yield name


async def test_readers_see_the_columns_they_were_promised(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    columns = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = 'image_embeddings'::regclass ORDER BY attnum
    """
    assert await fetch(url, columns) == [
        ("image_id", "text"),
        ("content", "text"),
        ("embedding", "vector(128)"),
        ("bucket", "text"),
        ("generation", "bigint"),
        ("model", "text"),
    ]
    shown = "SELECT image_id, content, bucket, generation, model FROM image_embeddings"
    assert (await fetch(url, f"{shown} ORDER BY image_id"))[1] == (
        "0001.png",
        f"gs://{bucket.name}/0001.png",
        bucket.name,
        bucket.generation("0001.png"),
        "multimodalembedding@001",
    )


async def test_two_dimensions_are_two_spaces_and_readers_see_one(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, dimension=256)
    assert await fetch(url, SPACES) == [(128, "retired"), (256, "active")]
    assert await fetch(url, DIMENSIONS) == [(256,)]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.space_1") == 4
    await model_server.reset()
    back = await sync(settings, bucket.name)
    assert await model_server.calls() == back.plan.calls == 0
    assert await fetch(url, SPACES) == [(128, "active"), (256, "retired")]
    assert await fetch(url, DIMENSIONS) == [(128,)]


async def test_rights_to_the_index_outlive_a_change_of_dimension(
    settings: Settings, bucket: LocalBucket, url: str, reader: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    await execute(url, f"GRANT SELECT ON image_embeddings TO {reader} WITH GRANT OPTION")
    await execute(url, "GRANT SELECT, UPDATE ON image_embeddings TO PUBLIC")
    rights = "SELECT relacl::text FROM pg_class WHERE oid = 'image_embeddings'::regclass"
    before = await fetchval(url, rights)
    assert "r*" in before
    await sync(settings, bucket.name, dimension=256)
    assert await fetchval(url, rights) == before
    connection = await asyncpg.connect(url)
    await connection.execute(f"SET ROLE {reader}")
    assert await connection.fetchval("SELECT count(*) FROM image_embeddings") == 2
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval("SELECT count(*) FROM birdwalk.runs")
    await connection.close()


async def test_rights_to_columns_and_the_owner_and_the_comment_outlive_it_too(
    settings: Settings, bucket: LocalBucket, url: str, reader: str, owner: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    await execute(
        url,
        f"GRANT SELECT (image_id), SELECT (embedding) ON image_embeddings TO {reader}"
        " WITH GRANT OPTION",
    )
    await execute(url, "GRANT SELECT (model) ON image_embeddings TO PUBLIC")
    await execute(url, f"ALTER VIEW image_embeddings OWNER TO {owner}")
    state = """
    SELECT relowner::regrole::text, relacl::text, obj_description(pg_class.oid, 'pg_class'),
        array(
            SELECT attname || ' ' || attacl::text FROM pg_attribute
            WHERE attrelid = pg_class.oid AND attacl IS NOT NULL ORDER BY attname
        )
    FROM pg_class WHERE oid = 'image_embeddings'::regclass
    """
    before = await fetch(url, state)
    assert [len(row[3]) for row in before] == [3]
    await sync(settings, bucket.name, dimension=256)
    assert await fetch(url, state) == before


async def test_publishing_again_touches_nothing(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    state = "SELECT 'image_embeddings'::regclass::oid, published_at FROM birdwalk.spaces"
    before = await fetch(url, state)
    async with open_run(options(bucket.name), settings, "test") as run:
        assert (await publish(run)).status == "active"
    assert await fetch(url, state) == before


async def test_a_dropped_view_comes_back_with_the_next_run(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    await execute(url, "DROP VIEW image_embeddings")
    await sync(settings, bucket.name)
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 2


async def test_readers_never_miss_the_index_while_it_changes(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name, dimension=256)
    await sync(settings, bucket.name)
    seen: list[int] = []
    over = asyncio.Event()

    async def read() -> None:
        connection = await asyncpg.connect(url, statement_cache_size=0)
        while not over.is_set():
            rows = await connection.fetch("SELECT vector_dims(embedding) FROM image_embeddings")
            assert len(rows) == 4
            assert len({row[0] for row in rows}) == 1
            seen.append(rows[0][0])
        await connection.close()

    readers = [asyncio.create_task(read()) for _ in range(2)]
    for dimension in (256, 128) * 4:
        async with open_run(options(bucket.name, dimension=dimension), settings, "test") as run:
            await publish(run)
    over.set()
    await asyncio.gather(*readers)
    assert set(seen) == {128, 256}


async def test_a_publication_that_fails_leaves_the_old_space_in_place(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    await execute(url, "CREATE VIEW favourites AS SELECT image_id FROM image_embeddings")
    with pytest.raises(DatabaseError, match="favourites"):
        await sync(settings, bucket.name, dimension=256)
    assert await fetch(url, SPACES) == [(128, "active"), (256, "loading")]
    assert await fetch(url, DIMENSIONS) == [(128,)]
    await execute(url, "DROP VIEW favourites")
    done = await sync(settings, bucket.name, dimension=256)
    assert (done.total("calls"), done.space.status) == (0, "active")


@pytest.mark.parametrize(
    "index",
    [
        "quotes \" and ' inside",
        "x'; DROP SCHEMA birdwalk CASCADE; --",
        '"; DROP VIEW other; --',
        "Köln ✈",
        "UPPER Case",
        "select",
        "{table}",
        "i" * 63,
    ],
)
async def test_any_name_that_postgres_can_hold_works_as_an_index(
    settings: Settings, bucket: LocalBucket, url: str, index: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name, index="other")
    await sync(settings, bucket.name, index=index)
    done = await sync(settings, bucket.name, index=index, dimension=256)
    assert done.space.index == index
    views = await fetch(url, "SELECT viewname FROM pg_views WHERE schemaname = 'public'")
    assert sorted(name for (name,) in views) == sorted([index, "other"])
    quoted = await fetchval(url, "SELECT quote_ident($1)", index)
    assert await fetchval(url, f"SELECT count(*) FROM public.{quoted}") == 2  # noqa: S608 - quoted


@pytest.mark.parametrize("index", ["i" * 64, "Köln" * 13, "", "nul\0inside"])
async def test_a_name_that_postgres_would_cut_is_refused(bucket: LocalBucket, index: str) -> None:
    with pytest.raises(InvalidIndexName, match="expected 1 to 63 bytes"):
        options(bucket.name, index=index)


async def test_a_try_out_does_not_replace_what_readers_see(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(6)
    await sync(settings, bucket.name)
    with pytest.raises(GuardStopped, match="does not replace what readers see"):
        await sync(settings, bucket.name, dimension=256, limit=2)
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 6


async def test_a_space_of_a_part_of_the_bucket_does_not_replace_the_whole(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_all(["birds/a.png", "birds/b.png", "planes/a.png"])
    await sync(settings, bucket.name)
    part = {"dimension": 256, "prefix": "birds/"}
    with pytest.raises(GuardStopped, match=r"2 images, 33.3% fewer .*max_deletions=0.334"):
        await sync(settings, bucket.name, max_deletions=0.1, **part)
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 3
    await sync(settings, bucket.name, max_deletions=0.334, **part)
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 2
