"""The health check sees each way in which an index can drift from its bucket, and names it."""

import pytest

from tasks.core.database.connections import open_database
from tasks.core.errors import IndexDrifted, TooManyPending, UnknownIndex
from tasks.core.maintenance.check_index import (
    AGE,
    DRIFT,
    SEARCH,
    HealthLimits,
    IndexHealth,
    check_index,
    refuse_drifted,
)
from tasks.core.publishing.publish import publish
from tasks.core.runs.index_lock import IndexHold
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute
from tests.support.model_server import ModelServer
from tests.support.sync import options, sync
from tests.support.vectors import fill_space, uniform

INDEX = "image_embeddings"
RECALL = "recall@10 of the index is at least 0.95"
INVALIDATE = """
    CREATE INDEX x ON birdwalk.space_1 USING hnsw (embedding vector_l2_ops);
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'birdwalk.x'::regclass
"""
REFUSE = """
    INSERT INTO birdwalk.refusals (space_id, bucket, image_id, generation, reason)
    SELECT 1, bucket, image_id, generation, 'cannot be decoded'
    FROM birdwalk.objects JOIN birdwalk.runs USING (run_id) WHERE image_id = $1
"""
ARRIVE = """
    UPDATE birdwalk.space_1 AS stored SET generation = objects.generation
    FROM birdwalk.objects WHERE objects.image_id = $1 AND stored.image_id = $1
"""
FAULTS = {
    "rows are missing": ("DELETE FROM birdwalk.space_1 WHERE image_id < '0003'", DRIFT),
    "rows are outdated": (
        "UPDATE birdwalk.space_1 SET generation = 1 WHERE image_id < '0003'",
        DRIFT,
    ),
    "rows are gone": ("DELETE FROM birdwalk.objects WHERE image_id < '0003'", DRIFT),
    "the listing is old": (
        "UPDATE birdwalk.runs SET started_at = started_at - interval '37 hours'",
        AGE,
    ),
    "the index is invalid": (INVALIDATE, SEARCH),
    "the index is of another operator": (
        "CREATE INDEX x ON birdwalk.space_1 USING hnsw (embedding vector_cosine_ops)",
        SEARCH,
    ),
}


async def check(settings: Settings, limits: HealthLimits | None = None) -> IndexHealth:
    async with open_database(settings) as database:
        return await check_index(database, INDEX, limits or HealthLimits())


def failed(health: IndexHealth) -> list[str]:
    return [check.name for check in health.failed]


async def test_an_index_fresh_from_a_sync_is_in_order(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(20)
    bucket.put("broken.png", b"not a picture")
    await sync(settings, bucket.name)
    health = await check(settings)
    assert failed(health) == []
    refuse_drifted(health)
    [space] = health.spaces
    assert (space.report.rows, space.report.missing) == (20, 0)
    assert space.table_bytes > 20 * 4 * 128
    [source] = health.sources
    assert source.uri == f"gs://{bucket.name}/"
    assert source.synced_at is not None
    assert source.listed_at is not None
    assert source.listed_at <= source.synced_at


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_fails_its_check_and_no_other(
    settings: Settings, bucket: LocalBucket, url: str, fault: str
) -> None:
    bucket.put_pictures(20)
    await sync(settings, bucket.name)
    tampering, seen = FAULTS[fault]
    await execute(url, tampering)
    health = await check(settings)
    assert failed(health) == [seen]
    with pytest.raises(IndexDrifted, match=rf"{seen}: .*Run embed-images on gs://{bucket.name}/"):
        refuse_drifted(health)
    assert failed(await check(settings, HealthLimits(drift=0.2, listing_hours=48))) == (
        [SEARCH] if seen == SEARCH else []
    )


@pytest.mark.usefixtures("quick_backoff")
async def test_what_a_completed_run_left_for_the_next_is_said_and_is_no_drift(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    hasty = settings.model_copy(update={"image_time_budget_seconds": 0.3})
    bucket.put_pictures(20)
    await sync(settings, bucket.name)
    bucket.put("0002.png", picture(90))
    bucket.put("new.png", picture(91))
    bucket.put("copy of new.png", picture(91))
    await model_server.configure(
        errors_by_name=dict.fromkeys(("0002.png", "new.png", "copy of new.png"), "UNAVAILABLE")
    )
    with pytest.raises(TooManyPending):
        await sync(hasty, bucket.name, max_leftovers=0.01)
    health = await check(settings)
    assert (failed(health), health.left) == ([DRIFT], 0)
    bucket.put("embedded.png", picture(92))
    await sync(hasty, bucket.name, max_leftovers=0.2)
    health = await check(settings)
    assert (failed(health), health.left) == ([], 3)
    said = "2 missing, 1 outdated, 0 gone of 23 listed: 0.0% without 3 left for the next run"
    assert said in health.checks[0].found
    # One that is refused, or whose vector came after all, is not left any more.
    await execute(url, REFUSE, "new.png")
    await execute(url, ARRIVE, "0002.png")
    health = await check(settings)
    assert (failed(health), health.left) == ([], 1)
    assert "1 missing, 0 outdated" in health.checks[0].found
    # What is lost beside them is drift, and so is what another space's run has left.
    await execute(url, "DELETE FROM birdwalk.space_1 WHERE image_id = 'embedded.png'")
    health = await check(settings)
    assert (failed(health), health.left) == ([DRIFT], 1)
    await execute(url, "UPDATE birdwalk.runs SET dimension = 256")
    assert (await check(settings)).left == 0
    await model_server.configure()
    await sync(settings, bucket.name)
    health = await check(settings)
    assert (failed(health), health.left) == ([], 0)


async def test_what_a_listing_cut_short_does_not_have_is_not_gone(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, limit=2)
    health = await check(settings)
    assert (failed(health), health.spaces[0].report.gone) == ([], 0)


async def test_a_source_is_as_old_as_the_last_listing_that_covered_it(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2, "birds/")
    bucket.put_pictures(2, "planes/")
    await sync(settings, bucket.name, prefix="birds/")
    await execute(url, "UPDATE birdwalk.runs SET started_at = started_at - interval '9 days'")
    await sync(settings, bucket.name, prefix="planes/")
    health = await check(settings)
    assert failed(health) == [AGE]
    assert health.failed[0].examples == (f"gs://{bucket.name}/birds/",)
    await sync(settings, bucket.name)
    assert failed(await check(settings)) == []


async def test_low_recall_fails(settings: Settings, url: str) -> None:
    async with open_run(options("synthetic"), settings, "test") as run:
        await fill_space(run, uniform(3_000, 128))
        await execute(
            url,
            "CREATE INDEX ON birdwalk.space_1 USING hnsw (embedding vector_l2_ops)"
            " WITH (m = 2, ef_construction = 4)",
        )
        await publish(run)
    health = await check(settings)
    assert failed(health) == [RECALL]
    assert health.recall is not None
    assert health.recall < 0.95


async def test_an_index_that_a_run_holds_is_shown_but_its_drift_is_not_judged(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    await execute(url, FAULTS["rows are missing"][0])
    async with open_database(settings) as database:
        hold = IndexHold(database, INDEX, "birdwalk the nightly run")
        await hold.take()
        health = await check(settings)
        await hold.release()
    assert failed(health) == []
    assert health.held_by == "birdwalk the nightly run"
    assert failed(await check(settings)) == [DRIFT]


async def test_an_index_that_does_not_exist_is_said(settings: Settings) -> None:
    with pytest.raises(UnknownIndex, match="'image_embeddings' does not exist"):
        await check(settings)
