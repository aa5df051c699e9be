"""The function that readers search an index with: SELECT * FROM find_similar('a.png', 5)."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.local.stack import Stack
from tasks.core.loading.build_index import build_index
from tasks.core.publishing.publish import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tasks.core.spaces import view
from tasks.core.spaces.hnsw import ROWS_THAT_PAY
from tasks.core.types import Image
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval, fresh_database, secret, settings_for
from tests.support.sync import options, sync
from tests.support.vectors import fill_space, uniform
from tests.support.waiting import until

COMMENT = "SELECT obj_description('find_similar'::regproc)"
FIND = "SELECT * FROM find_similar($1, $2)"
SEARCHES = "SELECT sum(idx_scan)::int FROM pg_stat_user_indexes WHERE indexrelname ~ 'hnsw'"


@asynccontextmanager
async def reading(url: str, *more: str) -> AsyncIterator[str]:
    """Yield the address of a new role that may read views, and nothing of birdwalk's schema."""
    role = f"reader_{secrets.token_hex(4)}"
    await execute(url, f"CREATE ROLE {role} LOGIN")
    for grant in ("SELECT ON image_embeddings", *more):
        await execute(url, f"GRANT {grant} TO {role}")
    yield url.replace("postgres@", f"{role}@")
    await execute(url, f"DROP OWNED BY {role}")
    await execute(url, f"DROP ROLE {role}")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def rolled_back(connection: asyncpg.Connection) -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def names(url: str, call: str) -> list[str]:
    rows = await fetch(url, f"SELECT * FROM find_similar({call})")  # noqa: S608 - a test's own
    return [row[0] for row in rows]


async def test_a_reader_of_the_view_gets_the_nearest_images_and_errors_that_say_what_to_do(
    settings: Settings, url: str, bucket: LocalBucket
) -> None:
    bucket.put_pictures(12)
    bucket.put_all(["copies/1.png", "copies/2.png"], picture(0))
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, index="copies", prefix="copies/")
    async with reading(url, "SELECT ON copies") as reader:
        found = await fetch(reader, "SELECT * FROM find_similar('0000.png')")
        assert len(found) == 10
        assert [row[:2] for row in found[:2]] == [("copies/1.png", 0), ("copies/2.png", 0)]
        assert [row[1] for row in found] == sorted(row[1] for row in found)
        assert found[0][2] == f"gs://{bucket.name}/copies/1.png"
        everything = await fetch(
            reader,
            "SELECT image_id, embedding <-> (SELECT embedding FROM image_embeddings WHERE"
            " image_id = '0000.png') FROM image_embeddings WHERE image_id <> '0000.png'"
            " ORDER BY 2, 1 LIMIT 10",
        )
        assert [row[:2] for row in found] == everything
        assert await names(reader, "'0000.png', 5, 'copies/'") == ["copies/1.png", "copies/2.png"]
        assert await names(reader, "'0000.png', 5, 'none'") == []
        # NULL as a program sends it for "not given".
        assert await names(reader, "'0000.png', NULL, NULL") == [row[0] for row in found]
        assert await names(reader, "'copies/2.png', index => 'copies'") == ["copies/1.png"]
        for call, said, hint in (
            ("'none.png'", "Image 'none.png' is not in index 'image_embeddings'", "full object"),
            ("'0000.png', index => 'copies'", "Image '0000.png' is not in index 'copies'", "full"),
            ("NULL", "Image <NULL> is not in index", "full object name"),
            ("'0000.png', index => 'x'", "There is no index 'x'", "index => 'cropped'"),
        ):
            with pytest.raises(asyncpg.RaiseError) as raised:
                await names(reader, call)
            assert said in str(raised.value)
            assert hint in (raised.value.hint or "")


async def test_a_name_in_two_buckets_is_asked_by_its_address(
    settings: Settings, url: str, bucket: LocalBucket
) -> None:
    other = LocalBucket(f"{bucket.name}-2", bucket.client)
    other.client.create_bucket(other.name)
    for number, one in enumerate((bucket, other)):
        one.put("same.png", picture(number))
        await sync(settings, one.name)
    with pytest.raises(
        asyncpg.RaiseError, match=r"2 images of index .* are called 'same.png'"
    ) as raised:
        await names(url, "'same.png'")
    assert f"Ask by address, as in 'gs://{bucket.name}" in raised.value.hint
    [found] = await fetch(url, FIND, f"gs://{bucket.name}/same.png", 10)
    assert found[2] == f"gs://{other.name}/same.png"


async def test_one_session_goes_on_while_the_view_is_led_to_a_space_of_another_dimension(
    settings: Settings, url: str, bucket: LocalBucket
) -> None:
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    async with reading(url) as reader, connected(reader) as connection:
        for dimension in (256, 128, 256):
            for _ in range(7):  # plans are kept from the sixth call on
                assert len(await connection.fetch(FIND, "0000.png", 3)) == 3
            await sync(settings, bucket.name, dimension=dimension)
        assert len(await connection.fetch(FIND, "0000.png", 3)) == 3


async def test_the_extension_may_live_in_any_schema_and_move(
    settings: Settings, bare_database_url: str, bucket: LocalBucket
) -> None:
    theirs = settings.model_copy(update={"database_url": secret(bare_database_url)})
    await execute(bare_database_url, "CREATE SCHEMA one; CREATE EXTENSION vector SCHEMA one")
    bucket.put_pictures(3)
    await sync(theirs, bucket.name)
    async with reading(bare_database_url, "USAGE ON SCHEMA one") as reader:
        assert len(await names(reader, "'0000.png'")) == 2
    await execute(bare_database_url, "CREATE SCHEMA two; ALTER EXTENSION vector SET SCHEMA two")
    await sync(theirs, bucket.name)
    async with reading(bare_database_url, "USAGE ON SCHEMA two") as reader:
        assert len(await names(reader, "'0000.png'")) == 2


async def test_a_function_of_that_name_is_replaced_where_it_is_birdwalks(
    settings: Settings, url: str, bucket: LocalBucket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", view.__name__)
    bucket.put_pictures(2)
    await execute(
        url,
        "CREATE FUNCTION find_similar(image text, count integer, prefix text, index text)"
        " RETURNS integer LANGUAGE sql AS 'SELECT 7'",
    )
    await sync(settings, bucket.name)
    assert "exists and is not birdwalk's: it was left alone" in caplog.text
    assert await fetchval(url, "SELECT find_similar('', 1, '', '')") == 7
    await execute(url, "DROP FUNCTION find_similar")
    caplog.clear()
    await sync(settings, bucket.name)
    current = await fetchval(url, COMMENT)
    assert current.startswith(view.FUNCTION_COMMENT)
    earlier = f"COMMENT ON FUNCTION find_similar IS '{view.FUNCTION_COMMENT}'"
    await execute(url, earlier)
    await sync(settings, bucket.name)
    assert await fetchval(url, COMMENT) == current
    assert caplog.text == ""


@dataclass(frozen=True, slots=True)
class Filled:
    """A published index of uniform vectors with HNSW, where a narrow search misses much."""

    url: str
    vectors: NDArray[np.float32]

    def truth(self, number: int, prefix: str = "", count: int = 10) -> list[str]:
        """Return the true neighbours' names, by numpy."""
        distances = np.linalg.norm(self.vectors - self.vectors[number], axis=1)
        ranked = [name_of(int(row)) for row in np.argsort(distances) if row != number]
        return [name for name in ranked if name.startswith(prefix)][:count]

    async def recall(self) -> float:
        """Return the share of 100 images whose nearest is found, where one is asked for."""
        hits = 0
        async with connected(self.url) as connection:
            for number in range(100):
                found = await connection.fetchval(FIND, name_of(number), 1)
                hits += [found] == self.truth(number, count=1)
        return hits / 100


def name_of(number: int) -> str:
    return f"{'odd' if number % 2 else 'even'}/{number:06d}.png"


@pytest.fixture(scope="module")
async def filled(
    stack: Stack, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Filled]:
    async with fresh_database(database_server) as url:
        settings = settings_for(stack, url, tmp_path_factory.mktemp("data"))
        vectors = list(uniform(ROWS_THAT_PAY, 128))
        images = [Image("b", name_of(number), 1, f"{number:06d}") for number in range(len(vectors))]
        async with open_run(options("b"), settings, "test") as run:
            await fill_space(run, iter(vectors), images)
            await build_index(run)
            await publish(run)
        yield Filled(url, np.array(vectors))


async def test_it_gives_as_many_as_are_asked_for_through_the_index_and_leaves_no_trace(
    filled: Filled,
) -> None:
    before = await fetchval(filled.url, SEARCHES)
    async with connected(filled.url) as connection:
        for count in (1, 40, 100):
            found = await connection.fetch(FIND, name_of(7), count)
            assert len({row["image_id"] for row in found}) == count
        found = await connection.fetch("SELECT * FROM find_similar($1, 100, 'odd/')", name_of(8))
        assert len(found) == 100
        assert all(row["image_id"].startswith("odd/") for row in found)
        for setting, value in (("ef_search", "40"), ("iterative_scan", "off")):
            assert await connection.fetchval(f"SHOW hnsw.{setting}") == value

    async def reported() -> bool:
        # A connection reports what it used when it ends.
        return bool(await fetchval(filled.url, SEARCHES) >= before + 3)

    await until(reported)


async def test_it_searches_as_widely_as_the_gate_measured(filled: Filled) -> None:
    recall = {}
    comment = await fetchval(filled.url, "SELECT obj_description('image_embeddings'::regclass)")
    for ef_search in (1, 800):
        told = comment.replace("ef_search = 100", f"ef_search = {ef_search}")
        await execute(filled.url, f"COMMENT ON VIEW image_embeddings IS '{told}'")
        recall[ef_search] = await filled.recall()
    await execute(filled.url, f"COMMENT ON VIEW image_embeddings IS '{comment}'")
    assert recall[800] >= 0.98
    assert recall[1] <= 0.95


async def test_where_the_index_gives_up_early_all_that_match_are_found(filled: Filled) -> None:
    rename = "UPDATE birdwalk.images_1 SET image_id = 'x/' || image_id WHERE image_id = ANY ($1)"
    async with connected(filled.url) as connection, rolled_back(connection):
        # The planner still believes that half of the names begin with odd/.
        await connection.execute(rename, filled.truth(0, count=ROWS_THAT_PAY - 41))
        await connection.execute("LOAD 'vector'; SET LOCAL hnsw.max_scan_tuples = 1")
        farthest = filled.truth(0, count=ROWS_THAT_PAY)[-40:]
        matching = [name for name in farthest if name.startswith("odd/")]
        call = "SELECT * FROM find_similar($1, $2, 'odd/')"
        found = await connection.fetch(call, name_of(0), len(matching))
    assert [row["image_id"] for row in found] == matching
