"""What the model refuses is kept as rows, shown by reason, and fails a run above max_refusals."""

import pytest

from tasks.core.embedding.outcomes import check_refusals, list_refusals
from tasks.core.errors import TooManyRefusals
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync

INSERT = """
INSERT INTO birdwalk.refusals (space_id, content_key, reason)
SELECT 1, 'content ' || number, 'reason ' || number FROM generate_series(1, 60) AS number
"""

LISTED = """
INSERT INTO birdwalk.listings (run_id, image_id, generation, content_key)
SELECT $1, 'refused-' || number, 1, 'content ' || number FROM generate_series(1, 60) AS number
"""


async def test_refusals_are_grouped_by_reason_with_attempts_and_examples(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(3)
    for number in range(5):
        bucket.put(f"broken-{number}.png", b"no picture %d" % number)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, retry_refused=True)
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        (group,) = await list_refusals(run)
    assert (group.images, group.attempts) == (5, 2)
    assert group.examples == ("broken-0.png", "broken-1.png", "broken-2.png")
    assert "Image embedding failed" in group.reason
    assert group.last_refused.tzinfo is not None


async def test_rare_reasons_are_one_group_and_the_counts_add_up(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    await execute(url, INSERT)
    await execute(url, "UPDATE birdwalk.refusals SET reason = 'reason 7' WHERE reason ~ '[89]$'")
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        await execute(url, LISTED, run.run_id)
        groups = await list_refusals(run)
    assert len(groups) <= 51
    assert sum(group.images for group in groups) == 60
    assert (groups[0].reason, groups[0].images) == ("reason 7", 13)
    assert groups[0].examples[0].startswith("refused-")


async def test_only_the_runs_part_of_the_bucket_counts(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put("birds/broken.png", b"no picture")
    bucket.put("planes/broken.png", b"no picture either")
    bucket.put("planes/good.png")
    bucket.put("birds/good.png")
    await sync(settings, bucket.name)
    async with open_run(options(bucket.name, prefix="birds/"), settings, "test") as run:
        await prepare(run)
        (group,) = await list_refusals(run)
    assert group.examples == ("birds/broken.png",)


async def test_too_many_refusals_fail_the_run_keep_the_others_and_name_the_parameter(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(6)
    for number in range(2):
        bucket.put(f"broken-{number}.png", b"no picture %d" % number)
    said = r"2 of 8 images \(25.0%\) were refused; at most 10.0%.*set max_refusals=0.25"
    with pytest.raises(TooManyRefusals, match=said):
        await sync(settings, bucket.name, max_refusals=0.1)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.vectors_1") == 6
    assert await fetchval(url, "SELECT to_regclass('image_embeddings')") is None
    await model_server.reset()
    synced = await sync(settings, bucket.name, max_refusals=0.251)
    assert (await model_server.calls(), synced.verdict.images) == (0, 6)


async def test_what_was_refused_in_an_earlier_run_counts_too(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(3)
    bucket.put("broken.png", b"no picture")
    await sync(settings, bucket.name)
    async with open_run(options(bucket.name, max_refusals=0.2), settings, "test") as run:
        made = await prepare(run)
        assert made.images("refused before") == 1
        with pytest.raises(TooManyRefusals, match="1 of 4"):
            check_refusals(run, await list_refusals(run))


async def test_a_run_without_refusals_passes(settings: Settings, bucket: LocalBucket) -> None:
    bucket.put_pictures(2)
    async with open_run(options(bucket.name, max_refusals=0.0), settings, "test") as run:
        await prepare(run)
        assert await list_refusals(run) == ()
        check_refusals(run, ())


async def test_refused_images_that_left_the_bucket_count_no_more(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(8)
    for number in range(3):
        bucket.put(f"broken-{number}.png", b"no picture %d" % number)
    await sync(settings, bucket.name)
    for number in range(3):
        bucket.delete(f"broken-{number}.png")
    synced = await sync(settings, bucket.name, max_refusals=0.0)
    assert synced.verdict.images == 8


async def test_a_limited_run_counts_the_refusals_of_what_it_listed(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(4)
    bucket.put("z-broken.png", b"no picture")
    await sync(settings, bucket.name)
    synced = await sync(settings, bucket.name, limit=2, max_refusals=0.0)
    assert (synced.verdict.images, synced.published.images) == (2, 4)
