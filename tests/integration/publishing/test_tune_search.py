"""The gate finds the ef_search that a table needs, tells it, and measures each state once."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tasks.core.database.connections import Connection, open_database
from tasks.core.errors import GateFailed
from tasks.core.loading import build_index
from tasks.core.maintenance.prune import prune_contents
from tasks.core.planning.create_table import create_table
from tasks.core.publishing import tune_search, verify
from tasks.core.publishing.publish import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.spaces.nearest import widen_search
from tasks.core.spaces.recall import check_recall, sample_vectors
from tasks.core.spaces.registry import require_shown_space
from tasks.core.types import Check
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.sync import (
    Synced,
    die_with_parts,
    dying_run,
    finish,
    load,
    options,
    prepare,
    sync,
)
from tests.support.vectors import clustered, fill_space

MEASURED = "SELECT ef_search, measured_at FROM birdwalk.spaces WHERE space_id = 1"
COMMENT = "SELECT obj_description('image_embeddings'::regclass)"
SETTING = "SELECT current_setting('hnsw.ef_search')::integer"
INDEXES = "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%hnsw%'"
RECORDED = "as measured at"

Change = Callable[[Settings, LocalBucket, str], Awaitable[object]]


@pytest.fixture
def pays_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a handful of rows have an index: when it is measured does not depend on their number."""
    monkeypatch.setattr(build_index, "ROWS_THAT_PAY", 5)


async def make_poor_index(run: Run, url: str) -> None:
    """Fill a space and give it an index with so few links that 100 candidates do not do."""
    await fill_space(run, clustered(6_000, 128, clusters=60))
    await execute(
        url,
        "CREATE INDEX ON birdwalk.vectors_1 USING hnsw (embedding vector_l2_ops)"
        " WITH (m = 4, ef_construction = 12); ANALYZE birdwalk.vectors_1",
    )


async def test_the_gate_raises_ef_search_until_recall_is_good_and_readers_are_told(
    run: Run, settings: Settings, url: str
) -> None:
    await make_poor_index(run, url)
    async with open_database(settings) as database, database.connection() as connection:
        assert await recall_at(connection, 100) < 0.98
    verdict = await verify.verify(run)
    assert verdict.failed == ()
    assert verdict.recall is not None
    assert verdict.recall >= 0.98
    await publish(run)
    chosen, measured_at = (await fetch(url, MEASURED))[0]
    assert chosen in {200, 400, 800}
    assert measured_at is not None
    assert f"SET hnsw.ef_search = {chosen} " in await fetchval(url, COMMENT)
    run.made_space = replace(run.space, ef_search=123)
    await publish(run)
    assert "SET hnsw.ef_search = 123 " in await fetchval(url, COMMENT)
    async with open_database(settings) as database, database.transaction() as connection:
        assert await recall_at(connection, chosen) >= 0.95
        space = await require_shown_space(connection, "image_embeddings")
        for filtered, expected in ((False, chosen), (True, max(chosen, 400))):
            await widen_search(connection, space, 10, filtered=filtered)
            assert await connection.fetchval(SETTING) == expected


@pytest.mark.parametrize(
    ("wanted", "filtered", "expected"),
    [
        (10, False, 100),
        (50, False, 100),
        (51, False, 102),
        (100, False, 200),
        (101, False, 202),
        (404, True, 808),
        (600, True, 1000),
    ],
)
async def test_ef_search_follows_how_many_are_wanted(
    run: Run,
    wanted: int,
    filtered: bool,  # noqa: FBT001 - a parameter of the test
    expected: int,
) -> None:
    space = await create_table(run)
    assert space.ef_search == 100
    async with run.database.transaction() as connection:
        await widen_search(connection, space, wanted, filtered=filtered)
        assert await connection.fetchval(SETTING) == expected


async def test_an_index_that_no_ef_search_helps_is_built_anew(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tune_search, "EF_SEARCH_STEPS", (20, 40))
    caplog.set_level("WARNING", tune_search.__name__)
    await fill_space(run, clustered(2_000, 128, clusters=60))
    await execute(
        url,
        "CREATE INDEX spoilt ON birdwalk.vectors_1 USING hnsw (embedding vector_l2_ops)"
        " WITH (m = 2, ef_construction = 4); ANALYZE birdwalk.vectors_1",
    )
    verdict = await verify.verify(run)
    assert verdict.failed == ()
    assert verdict.recall is not None
    assert verdict.recall >= 0.95
    assert "even at ef_search 40, so it is dropped and built anew" in caplog.text
    assert await fetch(url, INDEXES) == [("vectors_1_hnsw",)]
    assert RECORDED in (await verify.verify(run)).checks[-1].found


async def recall_at(connection: Connection, ef_search: int) -> float:
    """Return the recall that the check of an index finds where the registry says so much."""
    await connection.execute("UPDATE birdwalk.indexes SET space_id = 1")
    await connection.execute("UPDATE birdwalk.spaces SET ef_search = $1", ef_search)
    space = await require_shown_space(connection, "image_embeddings")
    sample = await sample_vectors(connection, space, 5, 60)
    recall, _ = await check_recall(connection, space, sample)
    assert recall is not None
    return recall


async def add_an_image(_: Settings, bucket: LocalBucket, _url: str) -> None:
    bucket.put("new.png", picture(500))


async def replace_an_image(_: Settings, bucket: LocalBucket, _url: str) -> None:
    bucket.put("0001.png", picture(501))


async def rebuild_the_index(_: Settings, _bucket: LocalBucket, url: str) -> None:
    await execute(url, "REINDEX INDEX birdwalk.vectors_1_hnsw")


async def do_without_an_index(settings: Settings, bucket: LocalBucket, url: str) -> None:
    """As where many vectors come: a gate finds none, and a later run builds one."""
    await execute(url, "DROP INDEX birdwalk.vectors_1_hnsw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_index, "ROWS_THAT_PAY", 1_000)
        assert (await sync(settings, bucket.name)).verdict.recall is None


async def take_from_another_index(settings: Settings, bucket: LocalBucket, _url: str) -> None:
    bucket.put("taken.png", picture(505))
    await sync(settings, bucket.name, index="another")


async def prune(settings: Settings, bucket: LocalBucket, _url: str) -> None:
    """Vectors that no image has leave the space."""
    bucket.delete("0004.png")
    await sync(settings, bucket.name)
    at_once = settings.model_copy(update={"unused_days": 0})
    async with open_run(options(bucket.name), at_once, "test") as run:
        await prepare(run)
        # The first looks for them, the second removes what was found before.
        assert [await prune_contents(run) > 0 for _ in range(2)] == [False, True]


async def die_before_inserting(settings: Settings, bucket: LocalBucket, _url: str) -> None:
    """What the dead run had paid for is loaded by the next."""
    bucket.put("recovered.png", picture(502))
    await die_with_parts(settings, bucket.name)


async def die_before_the_gate(settings: Settings, bucket: LocalBucket, _url: str) -> None:
    """The next run finds the vectors there, and writes none itself."""
    bucket.put("inserted.png", picture(503))
    async with dying_run(settings, bucket.name) as run:
        await prepare(run)
        await load(run)


async def fail_at_the_gate(settings: Settings, bucket: LocalBucket, url: str) -> None:
    """A run that measured, but whose gate did not hold, leaves no doubt about what it measured."""
    bucket.put("lost.png", picture(504))
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        await load(run)
        lost = f"SELECT content_key FROM birdwalk.work WHERE run_id = {run.run_id}"  # noqa: S608 - ours
        await execute(url, f"DELETE FROM birdwalk.vectors_1 WHERE content_key = ({lost})")  # noqa: S608 - ours
        with pytest.raises(GateFailed):
            await finish(run)


CHANGES: tuple[Change, ...] = (
    add_an_image,
    replace_an_image,
    rebuild_the_index,
    do_without_an_index,
    take_from_another_index,
    prune,
    die_before_inserting,
    die_before_the_gate,
    fail_at_the_gate,
)


async def write_an_image_again(_: Settings, bucket: LocalBucket, _url: str) -> None:
    bucket.put("0002.png", picture(2))


async def copy_an_image(_: Settings, bucket: LocalBucket, _url: str) -> None:
    bucket.put("copy.png", picture(3))


async def break_an_image(_: Settings, bucket: LocalBucket, _url: str) -> None:
    bucket.put("0005.png", b"not a picture")


async def remove_an_image(_: Settings, bucket: LocalBucket, _url: str) -> None:
    bucket.delete("0006.png")


NO_CHANGES: tuple[Change, ...] = (
    write_an_image_again,
    copy_an_image,
    break_an_image,
    remove_an_image,
)
"""They change which images lead to the vectors, and no vector."""


@pytest.mark.usefixtures("pays_at_once")
async def test_recall_is_measured_anew_after_any_change_of_vectors_and_only_then(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(20)
    await sync(settings, bucket.name)
    for change in CHANGES:
        await change(settings, bucket, url)
        found = recall_check(await sync(settings, bucket.name)).found
        assert RECORDED not in found, change.__name__
    before = await fetch(url, MEASURED)
    for change in NO_CHANGES:
        await change(settings, bucket, url)
        check = recall_check(await sync(settings, bucket.name))
        assert check.passed
        said = f"{RECORDED} {before[0][1]:%Y-%m-%d %H:%M} UTC: no row"
        assert said in check.found, change.__name__
    assert await fetch(url, MEASURED) == before


def recall_check(synced: Synced) -> Check:
    return synced.verdict.checks[-1]
