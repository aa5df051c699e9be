"""What gets no answer in its time is left for the next run, known and with its reason."""

import pytest

from flows.terminal.outcomes import SyncOutcome
from tasks.core.embedding.outcomes import list_leftovers
from tasks.core.errors import GateFailed, TooManyLeftovers
from tasks.core.loading.build_index import build_index
from tasks.core.publishing.verify import check_verdict, verify
from tasks.core.reports.summary import summary_markdown
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.summary import summarise
from tasks.core.settings import Settings
from tasks.core.types import CsvReport, OutcomeReport
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import carry_out, load, options, prepare, sync

NAMES = "SELECT image_id FROM image_embeddings ORDER BY image_id"
VIEW = "SELECT to_regclass('image_embeddings')::text"
LOSE = """
DELETE FROM birdwalk.vectors_1 USING birdwalk.listings
WHERE vectors_1.content_key = listings.content_key AND image_id = $1
"""
FAILING = {"0002.png": "UNAVAILABLE"}

pytestmark = pytest.mark.usefixtures("quick_backoff")


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    """Settings that leave an image little time."""
    return settings.model_copy(update={"image_time_budget_seconds": 0.3})


async def test_a_new_space_is_published_without_what_is_left_and_the_next_run_asks_again(
    hasty: Settings, settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    bucket.put("copy of 0002.png", picture(2))
    await model_server.configure(errors_by_name=FAILING)
    async with open_run(options(bucket.name), hasty, "test") as run:
        done = await carry_out(run, await prepare(run))
        (group,) = await list_leftovers(run)
        summary = await summarise(run)
        outcome = SyncOutcome(done.plan, None).completed(
            summary, OutcomeReport(3, 2), done.verdict, CsvReport(None, 0, 0), run.contact_sheet
        )
    assert "The service answered UNAVAILABLE" in group.reason
    assert (group.images, group.examples) == (2, ("0002.png", "copy of 0002.png"))
    assert outcome.sentence.endswith("3 refused, 2 left for the next run.")
    # Of a run contents are counted, and images where they are named.
    assert "| left for the next run | 1 |" in summary_markdown(summary, "completed")
    assert "2 are left for the next run" in done.verdict.checks[0].found
    assert await fetch(url, NAMES) == [("0000.png",), ("0001.png",), ("0003.png",)]
    await model_server.configure()
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.calls, await model_server.answers(), synced.verdict.images) == (1, 1, 5)


async def test_a_changed_image_that_is_left_keeps_its_older_vector(
    hasty: Settings, settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name)
    vector = "SELECT embedding::text FROM image_embeddings WHERE image_id = '0002.png'"
    before = await fetchval(url, vector)
    bucket.put("0002.png", picture(90))
    await model_server.configure(errors_by_name=FAILING)
    done = await sync(hasty, bucket.name)
    assert (done.published.images, done.total("leftover")) == (4, 1)
    assert await fetchval(url, vector) == before
    await model_server.configure()
    assert (await sync(settings, bucket.name)).plan.images("changed") == 1
    assert await fetchval(url, vector) != before


async def test_too_many_that_are_left_fail_the_run_and_name_the_parameter(
    hasty: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await model_server.configure(errors_by_name={**FAILING, "0003.png": "UNAVAILABLE"})
    said = (
        r"2 of 4 images \(50.0%\) got no vector.*at most 1 \(1.0%\).*UNAVAILABLE.*max_leftovers=0.5"
    )
    with pytest.raises(TooManyLeftovers, match=said):
        await sync(hasty, bucket.name, max_leftovers=0.01)
    assert await fetchval(url, VIEW) is None
    assert (await sync(hasty, bucket.name, max_leftovers=0.5)).verdict.images == 2


async def test_a_share_of_a_few_images_is_rounded_up_but_none_is_none(
    hasty: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await model_server.configure(errors_by_name=FAILING)
    with pytest.raises(TooManyLeftovers, match=r"1 of 4 images .*at most 0 \(0.0%\)"):
        await sync(hasty, bucket.name, max_leftovers=0.0)
    assert await fetchval(url, VIEW) is None
    assert (await sync(hasty, bucket.name, max_leftovers=0.01)).verdict.images == 3


async def test_what_is_lost_fails_the_gate_beside_what_is_left(
    hasty: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await model_server.configure(errors_by_name=FAILING)
    async with open_run(options(bucket.name), hasty, "test") as run:
        await prepare(run)
        await load(run)
        await execute(url, LOSE, "0003.png")
        await build_index(run)
        verdict = await verify(run)
    with pytest.raises(GateFailed, match=r"2 vectors for 3 images .*such as '0003\.png'\)"):
        check_verdict(verdict)
    assert [check.name for check in verdict.failed] == ["every listed image has a vector"]


async def test_what_another_attempt_of_its_batch_embeds_is_not_left(
    hasty: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await model_server.configure(errors_by_name=FAILING)
    async with open_run(options(bucket.name), hasty, "test") as run:
        await prepare(run)
        (counts,) = await load(run)
        assert (counts.leftover, len(await list_leftovers(run))) == (1, 1)
        await execute(url, "UPDATE birdwalk.batches SET durable = false")
        await model_server.configure()
        (counts,) = await load(run)
        assert (counts.leftover, counts.embedded, await list_leftovers(run)) == (0, 4, ())
