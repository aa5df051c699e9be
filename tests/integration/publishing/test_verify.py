"""The gate sees each thing that can be wrong with an index, names it, and shows rows."""

import shutil

import asyncpg
import pytest

from tasks.core.errors import GateFailed, UnknownImage
from tasks.core.publishing import tune_search, verify
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.types import Verdict
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import finish, load, options, prepare, sync
from tests.support.truth import check_shown, contents
from tests.support.vectors import fill_space, uniform
from tests.support.watching import state_of

MISSING = "every listed image has a vector"
VECTORS = "vectors are finite, of norm 1 and of 128 dimensions"
NUMBERS = "the table holds the CSV's very numbers"
SELF = "images are their own nearest"
RECALL = "recall@10 of the index is at least 0.95"

CONTENT_OF = """
CREATE FUNCTION content_of(text) RETURNS text LANGUAGE sql AS $$
    SELECT content_key FROM birdwalk.listings WHERE image_id = $1 ORDER BY run_id DESC LIMIT 1
$$
"""
FAULTS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "a vector is missing": (
        "DELETE FROM birdwalk.vectors_1 WHERE content_key = content_of('0005.png')",
        {MISSING: ("0005.png",)},
    ),
    "an image is listed that nobody was asked for": (
        """
        INSERT INTO birdwalk.listings (run_id, image_id, generation, content_key)
        SELECT run_id, '0005-b.png', generation, 'another' FROM birdwalk.listings
        WHERE image_id = '0005.png'
        """,
        {MISSING: ("0005-b.png",)},
    ),
    "a vector is not of norm 1": (
        """
        ALTER TABLE birdwalk.vectors_1 DROP CONSTRAINT vectors_1_unit_length;
        UPDATE birdwalk.vectors_1 SET embedding = embedding + embedding
        WHERE content_key = content_of('0005.png')
        """,
        {VECTORS: ("0005.png",), NUMBERS: ("0005.png",)},
    ),
    "a vector is another content's": (
        """
        UPDATE birdwalk.vectors_1 SET embedding = (
            SELECT embedding FROM birdwalk.vectors_1
            WHERE content_key = content_of('0006.png')
        )
        WHERE content_key = content_of('0025.png')
        """,
        {NUMBERS: ("0025.png",)},
    ),
}


@pytest.fixture
async def loaded(run: Run, bucket: LocalBucket, url: str) -> Run:
    """A run that has loaded thirty images in three batches, and is about to verify."""
    await execute(url, CONTENT_OF)
    bucket.put_pictures(30)
    await prepare(run)
    await load(run)
    return run


def failed(verdict: Verdict) -> dict[str, tuple[str, ...]]:
    return {check.name: check.examples for check in verdict.failed}


async def test_a_good_index_passes_every_check(loaded: Run) -> None:
    verdict = await verify.verify(loaded)
    assert [check.name for check in verdict.checks] == [MISSING, VECTORS, NUMBERS, SELF, RECALL]
    assert verdict.failed == ()
    verify.check_verdict(verdict)
    assert (verdict.images, verdict.recall) == (30, None)
    assert verdict.checks[0].found == "30 vectors for 30 images listed"


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_fails_its_checks_and_no_other(loaded: Run, url: str, fault: str) -> None:
    tampering, seen = FAULTS[fault]
    await execute(url, tampering)
    verdict = await verify.verify(loaded)
    assert failed(verdict) == seen
    with pytest.raises(GateFailed) as caught:
        verify.check_verdict(verdict)
    for name, examples in seen.items():
        assert name in str(caught.value)
        for example in examples:
            assert repr(example) in str(caught.value)


async def test_the_table_takes_no_vector_of_another_length(loaded: Run, url: str) -> None:
    assert loaded.run_id
    with pytest.raises(asyncpg.CheckViolationError, match="unit_length"):
        await execute(url, "UPDATE birdwalk.vectors_1 SET embedding = embedding + embedding")


@pytest.mark.usefixtures("unwatched")
async def test_an_unpublished_space_is_read_whole_also_by_a_later_run(
    loaded: Run, settings: Settings, url: str
) -> None:
    await loaded.lock.release()
    shutil.rmtree(loaded.directory)  # or the later run would load what this one had paid for
    await execute(url, FAULTS["a vector is not of norm 1"][0])
    async with open_run(options(loaded.options.bucket), settings, "test") as later:
        assert (await prepare(later)).calls == 0
        assert failed(await verify.verify(later)) == {VECTORS: ("0005.png",)}


async def test_an_index_of_this_run_with_bad_recall_at_the_largest_ef_search_fails(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_search, "EF_SEARCH_STEPS", (10, 20))
    await fill_space(run, uniform(3_000, 128))
    await execute(
        url,
        "CREATE INDEX ON birdwalk.vectors_1 USING hnsw (embedding vector_l2_ops)"
        " WITH (m = 2, ef_construction = 4)",
    )
    run.index_built = True
    verdict = await verify.verify(run)
    assert verdict.recall is not None
    assert verdict.recall < 0.95
    assert RECALL in failed(verdict)
    assert failed(verdict).keys() <= {RECALL, SELF}
    (check,) = [check for check in verdict.failed if check.name == RECALL]
    assert check.found == f"recall {verdict.recall:.3f} at ef_search 20"


@pytest.mark.parametrize("shown", [None, 128, 256])
async def test_a_failed_gate_leaves_the_index_as_it_was_and_what_is_paid_for(
    settings: Settings, bucket: LocalBucket, url: str, shown: int | None
) -> None:
    """A new index, the space that readers see, and another one."""
    bucket.put_pictures(6)
    if shown is not None:
        await sync(settings, bucket.name, dimension=shown)
        bucket.put("0003.png", picture(90))
        bucket.delete("0004.png")
    before = None if shown is None else await state_of(url)
    with pytest.raises(GateFailed, match=r"The index is left as it was: .*'0003\.png'"):
        await sync_with_a_loss(settings, options(bucket.name), url)
    views = "SELECT count(*) FROM pg_views WHERE schemaname = 'public'"
    assert await fetchval(url, views) == (0 if shown is None else 1)
    assert shown is None or await state_of(url) == before
    assert await fetchval(url, "SELECT verdict FROM birdwalk.runs ORDER BY run_id DESC") == "failed"
    done = await sync(settings, bucket.name)
    assert done.total("calls") == 1
    await check_shown(settings, url, contents(bucket))


async def sync_with_a_loss(settings: Settings, asked: SyncOptions, url: str) -> None:
    """Sync, but lose a vector before the gate."""
    async with open_run(asked, settings, "test") as run:
        await prepare(run)
        await load(run)
        await execute(url, CONTENT_OF)
        lost = f"DELETE FROM {run.space.vectors} WHERE content_key = content_of('0003.png')"  # noqa: S608 - ours
        await execute(url, lost)
        await finish(run)
        pytest.fail("the gate did not see the loss")


async def test_refused_and_left_images_are_counted_and_do_not_fail_the_gate(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(4)
    bucket.put("broken.png", b"not a picture")
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        bucket.put("0002.png", picture(90))
        await load(run)
        verdict = await verify.verify(run)
    assert verdict.failed == ()
    assert verdict.images == 3
    assert verdict.checks[0].found == (
        "3 vectors for 3 images listed; 1 is refused; 1 is left for the next run"
    )


async def test_the_question_is_answered_nearest_first_without_the_image_itself(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(12)
    done = await sync(settings, bucket.name, query="0004.png", neighbours=7)
    found = done.verdict.neighbours
    assert done.verdict.query == "0004.png"
    assert len(found) == 7
    assert "0004.png" not in [neighbour.image_id for neighbour in found]
    distances = [neighbour.distance for neighbour in found]
    assert distances == sorted(distances)
    assert 0 < distances[0] < distances[-1] <= 2


async def test_without_a_question_the_first_image_is_asked_with(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(3)
    done = await sync(settings, bucket.name)
    assert (done.verdict.query, len(done.verdict.neighbours)) == ("0000.png", 2)


async def test_copies_of_one_picture_do_not_fail_the_gate(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_all([f"copy-{number:02d}.png" for number in range(15)], picture(3))
    done = await sync(settings, bucket.name)
    assert (done.verdict.images, done.total("calls")) == (15, 1)
    assert [neighbour.distance for neighbour in done.verdict.neighbours] == [0.0] * 5


async def test_a_question_refused_by_the_model_is_said_to_be_unknown(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(3)
    bucket.put("broken.png", b"not a picture")
    with pytest.raises(UnknownImage, match=r"'broken\.png'"):
        await sync(settings, bucket.name, query="broken.png")
    assert await model_server.answers() == 3
