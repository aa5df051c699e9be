"""The health check sees each way in which an index can drift from its bucket, and names it."""

import pytest

from tasks.core.database.connections import open_database
from tasks.core.errors import GuardStopped, IndexDrifted, TooManyLeftovers, UnknownIndex
from tasks.core.maintenance.check_index import (
    AGE,
    DRIFT,
    SEARCH,
    HealthLimits,
    IndexHealth,
    check_index,
    require_in_order,
)
from tasks.core.maintenance.drop_space import held_space
from tasks.core.publishing.publish import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync
from tests.support.vectors import fill_space, uniform

INDEX = "image_embeddings"
RECALL = "recall@10 of the index is at least 0.95"
INVALIDATE = """
    CREATE INDEX x ON birdwalk.vectors_1 USING hnsw (embedding vector_l2_ops);
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'birdwalk.x'::regclass
"""
LOSE_VECTORS = """
    DELETE FROM birdwalk.vectors_1 USING birdwalk.images_1 AS images
    WHERE images.content_key = vectors_1.content_key AND images.image_id < '0003'
"""
CHANGE_CONTENTS = """
    UPDATE birdwalk.images_1 SET content_key = other.content_key FROM birdwalk.images_1 AS other
    WHERE images_1.image_id < '0003' AND other.image_id = '0019.png'
"""
FAULTS = {
    "images are missing": ("DELETE FROM birdwalk.images_1 WHERE image_id < '0003'", DRIFT),
    "vectors are missing": (LOSE_VECTORS, DRIFT),
    "images are outdated": (CHANGE_CONTENTS, DRIFT),
    "images are gone": ("DELETE FROM birdwalk.listings WHERE image_id < '0003'", DRIFT),
    "the listing is old": (
        "UPDATE birdwalk.runs SET listed_at = listed_at - interval '37 hours'",
        AGE,
    ),
    "the index is invalid": (INVALIDATE, SEARCH),
    "the index is of another operator": (
        "CREATE INDEX x ON birdwalk.vectors_1 USING hnsw (embedding vector_cosine_ops)",
        SEARCH,
    ),
}
REFUSE = """
    INSERT INTO birdwalk.refusals (space_id, content_key, reason)
    SELECT 1, content_key, 'cannot be decoded' FROM birdwalk.listings WHERE image_id = $1
"""


async def check(settings: Settings, limits: HealthLimits | None = None) -> IndexHealth:
    async with open_database(settings) as database:
        return await check_index(database, INDEX, limits or HealthLimits())


def failed(health: IndexHealth) -> list[str]:
    return [check.name for check in health.failed]


def drifted(health: IndexHealth) -> tuple[int, int, int, int]:
    drift = health.drift
    return drift.listed, drift.missing, drift.outdated, drift.gone


async def test_an_index_fresh_from_a_sync_is_in_order(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(20)
    bucket.put("copy.png", picture(0))
    bucket.put("broken.png", b"not a picture")
    await sync(settings, bucket.name)
    health = await check(settings)
    require_in_order(health)
    assert drifted(health) == (21, 0, 0, 0)
    assert (health.drift.shown, health.drift.not_compared) == (21, 0)
    [space] = health.spaces
    assert (space.report.vectors, space.report.shown) == (20, 21)
    assert space.size.table_bytes > 20 * 4 * 128
    assert health.images.index_bytes > 0
    [source] = health.sources
    assert source.uri == f"gs://{bucket.name}/"
    assert source.published_at is not None
    assert source.listed_at is not None
    assert source.listed_at < source.published_at
    # Written again with the same content, an image is as it was.
    bucket.put("0000.png", picture(0))
    bucket.put("new.png", picture(30))
    with pytest.raises(GuardStopped):
        await sync(settings, bucket.name, max_price=0)
    assert drifted(await check(settings)) == (22, 1, 0, 0)


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
        require_in_order(health)
    assert failed(await check(settings, HealthLimits(drift=0.2, listing_hours=48))) == (
        [SEARCH] if seen == SEARCH else []
    )


async def test_what_a_stopped_run_listed_counts_though_it_was_never_published(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(10)
    await sync(settings, bucket.name)
    bucket.put("new.png", picture(50))
    bucket.put("0001.png", picture(51))
    bucket.delete("0002.png")
    with pytest.raises(GuardStopped):
        await sync(settings, bucket.name, max_price=0)
    health = await check(settings)
    assert (failed(health), drifted(health)) == ([DRIFT], (10, 1, 1, 1))
    # An emptied bucket has no row in any listing.
    for name in ("new.png", *(f"{number:04d}.png" for number in range(10) if number != 2)):
        bucket.delete(name)
    with pytest.raises(GuardStopped):
        await sync(settings, bucket.name)
    health = await check(settings)
    assert (failed(health), drifted(health)) == ([DRIFT], (0, 0, 0, 10))


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
    with pytest.raises(TooManyLeftovers):
        await sync(hasty, bucket.name, max_leftovers=0.01)
    health = await check(settings)
    assert (failed(health), health.drift.leftover) == ([DRIFT], 0)
    bucket.put("embedded.png", picture(92))
    await sync(hasty, bucket.name, max_leftovers=0.2)
    health = await check(settings)
    assert (failed(health), health.drift.leftover) == ([], 3)
    said = "2 missing, 1 outdated, 0 gone of 23 listed: 0.0% without 3 left for the next run"
    assert said in health.checks[0].found
    # What is refused is not left any more. What is lost beside the rest is drift.
    await execute(url, REFUSE, "new.png")
    health = await check(settings)
    assert (drifted(health), health.drift.leftover) == ((21, 0, 1, 0), 1)
    await execute(url, "DELETE FROM birdwalk.images_1 WHERE image_id = 'embedded.png'")
    health = await check(settings)
    assert (failed(health), health.drift.leftover) == ([DRIFT], 1)
    # So is what a run of another space has left.
    await execute(url, "UPDATE birdwalk.runs SET dimension = 256")
    assert (await check(settings)).drift.leftover == 0
    await execute(url, "UPDATE birdwalk.runs SET dimension = 128")
    await model_server.configure()
    await sync(settings, bucket.name, retry_refused=True)
    health = await check(settings)
    assert (drifted(health), health.drift.leftover) == ((23, 0, 0, 0), 0)


async def test_what_a_listing_cut_short_does_not_have_is_not_compared(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, limit=2)
    health = await check(settings)
    assert (failed(health), drifted(health)) == ([], (2, 0, 0, 0))
    assert health.drift.not_compared == 3


async def test_of_several_buckets_those_whose_listings_are_kept_are_compared(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    other = LocalBucket(f"{bucket.name}-2", bucket.client)
    other.client.create_bucket(other.name)
    bucket.put_pictures(3)
    other.put_pictures(4)
    await sync(settings, other.name)
    await sync(settings, bucket.name)
    health = await check(settings)
    assert (health.drift.shown, health.drift.listed, health.drift.not_compared) == (7, 3, 4)
    # A migration is under way, so that its listing stays when another run lists.
    async with open_run(options(other.name, dimension=256), settings, "test") as run:
        await prepare(run)
        await sync(settings, bucket.name)
        health = await check(settings)
        assert (drifted(health), health.drift.not_compared) == ((7, 0, 0, 0), 0)
        await execute(url, "DELETE FROM birdwalk.images_1 WHERE bucket = $1", other.name)
        assert drifted(await check(settings)) == (7, 4, 0, 0)


async def test_of_an_image_in_several_listings_the_newest_counts(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_all(["a/0.png", "a/1.png", "a/2.png", "b/0.png"])
    await sync(settings, bucket.name)
    async with open_run(options(bucket.name, dimension=256), settings, "test") as run:
        await prepare(run)
        bucket.put("a/0.png", picture(50))
        bucket.delete("a/1.png")
        bucket.put("a/new.png", picture(51))
        await sync(settings, bucket.name, prefix="a/")
        health = await check(settings)
    assert (drifted(health), health.drift.not_compared) == ((4, 0, 0, 0), 0)
    assert [listing.prefix for listing in health.drift.listings] == ["a/", ""]


async def test_a_source_is_as_old_as_the_last_listing_that_covered_it(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2, "birds/")
    bucket.put_pictures(2, "planes/")
    await sync(settings, bucket.name, prefix="birds/")
    bucket.put("tried once.png", picture(60))
    with pytest.raises(GuardStopped):
        await sync(settings, bucket.name, prefix="tried", max_price=0)
    await execute(url, "UPDATE birdwalk.runs SET listed_at = listed_at - interval '9 days'")
    await sync(settings, bucket.name, prefix="planes/")
    async with open_run(options(bucket.name, plan_only=True), settings, "test") as run:
        await prepare(run)
        # Not even while it lasts.
        health = await check(settings)
    assert failed(health) == [AGE]
    assert health.failed[0].examples == (f"gs://{bucket.name}/birds/",)
    assert drifted(health) == (2, 0, 0, 0)
    # Nothing of it is in the index.
    assert {source.prefix for source in health.sources} == {"birds/", "planes/"}
    with pytest.raises(GuardStopped):
        await sync(settings, bucket.name, max_price=0)
    health = await check(settings, HealthLimits(drift=1))
    assert failed(health) == []
    [birds] = [source for source in health.sources if source.prefix == "birds/"]
    assert birds.published_at is not None
    assert birds.listed_at is not None
    assert birds.published_at < birds.listed_at


async def test_low_recall_fails(settings: Settings, url: str) -> None:
    async with open_run(options("synthetic"), settings, "test") as run:
        await fill_space(run, uniform(3_000, 128))
        await execute(
            url,
            "CREATE INDEX ON birdwalk.vectors_1 USING hnsw (embedding vector_l2_ops)"
            " WITH (m = 2, ef_construction = 4)",
        )
        await publish(run)
    await execute(url, "UPDATE birdwalk.runs SET listed_at = now()")
    health = await check(settings)
    assert failed(health) == [RECALL]
    assert health.recall is not None
    assert health.recall < 0.95


async def test_the_drift_of_an_index_whose_space_a_run_fills_is_shown_and_not_judged(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    await execute(url, FAULTS["images are missing"][0])
    async with open_database(settings) as database:
        async with held_space(database, options(bucket.name).space, "birdwalk the nightly run"):
            health = await check(settings)
        assert failed(health) == []
        assert health.held_by == "birdwalk the nightly run"
        another = options(bucket.name, dimension=256).space
        async with held_space(database, another, "birdwalk the migration"):
            assert failed(await check(settings)) == [DRIFT]


async def test_an_index_that_does_not_exist_is_said(settings: Settings) -> None:
    with pytest.raises(UnknownIndex, match="'image_embeddings' does not exist"):
        await check(settings)
