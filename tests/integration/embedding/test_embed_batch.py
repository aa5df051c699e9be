"""A batch pays once for each image, waits where waiting helps, and stops where it cannot."""

import asyncio

import numpy as np
import pytest

from tasks.core.csv_parts import read_part
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import SystemicFailure
from tasks.core.google.rate_limit import Limiter
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.types import Vector
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import FAST, options, prepare, sync
from tests.support.waiting import until


def embedded(run: Run, batch: int = 1) -> dict[str, Vector]:
    return read_part(run.part(batch), run.options.dimension)


async def test_each_image_gets_the_vector_of_its_own_bytes(
    run: Run, bucket: LocalBucket, model_server: ModelServer
) -> None:
    names = bucket.put_pictures(10)
    await prepare(run)
    counts = await embed_batch(run, 1)
    assert (counts.images, counts.embedded, counts.calls, counts.answers) == (10, 10, 10, 10)
    assert await model_server.answers() == 10
    vectors = embedded(run)
    assert sorted(vectors) == names
    for number, name in enumerate(names):
        assert vectors[name].dtype == np.float32
        assert np.linalg.norm(vectors[name]) == pytest.approx(1, abs=1e-6)
        again = await run.clients.embedder.embed_bytes(picture(number))
        assert np.linalg.norm(vectors[name] - again) < 1e-4


async def test_a_batch_that_was_cut_off_pays_only_for_the_rest(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    async def four_are_answered() -> bool:
        return await model_server.answers() >= 4

    bucket.put_pictures(30)
    asked = options(bucket.name, requests_per_minute=120, batch_size=30)
    async with open_run(asked, settings, "test") as run:
        await prepare(run)
        first = asyncio.create_task(embed_batch(run, 1))
        await until(four_are_answered)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        kept = len(embedded(run))
        # Those in flight too.
        assert 4 <= kept < 30
        run.limiter = Limiter(FAST)
        second = await embed_batch(run, 1)
        assert (second.recovered, second.embedded) == (kept, 30)
        third = await embed_batch(run, 1)
        # Calls count over all attempts of a batch: they were all sent.
        assert (third.recovered, third.calls) == (30, second.calls)
        assert len(embedded(run)) == 30
    assert await model_server.answers() == 30


async def test_a_row_torn_by_a_crash_is_embedded_again(run: Run, bucket: LocalBucket) -> None:
    bucket.put_pictures(10)
    await prepare(run)
    await embed_batch(run, 1)
    whole = embedded(run)
    with run.part(1).open("r+b") as part:
        part.truncate(run.part(1).stat().st_size - 5)
    counts = await embed_batch(run, 1)
    assert (counts.recovered, counts.calls, counts.embedded) == (9, 11, 10)
    assert {name: vector.tolist() for name, vector in embedded(run).items()} == {
        name: vector.tolist() for name, vector in whole.items()
    }


async def test_answers_of_429_slow_the_run_down_and_are_no_failures(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(30)
    await model_server.configure(requests_per_minute=600, instant=True)
    # Any failed attempt would wait longer than an image has.
    settings = settings.model_copy(update={"image_time_budget_seconds": 5})
    asked = options(bucket.name, requests_per_minute=1800, batch_size=30)
    async with open_run(asked, settings, "test") as run:
        await prepare(run)
        counts = await embed_batch(run, 1)
        assert run.limiter.rate < 30
    assert (counts.embedded, counts.leftover, counts.refused, counts.retries) == (30, 0, 0, 0)
    assert counts.deferrals > 0
    assert counts.calls == 30 + counts.deferrals
    by_code = (await model_server.statistics()).by_code
    assert by_code == {"OK": 30, "RESOURCE_EXHAUSTED": counts.deferrals}


async def test_a_quota_that_never_opens_stops_the_run(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(5)
    await model_server.configure(requests_per_minute=0.001, instant=True)
    settings = settings.model_copy(update={"image_time_budget_seconds": 1})
    with pytest.raises(SystemicFailure, match=r"over the quota: Quota exceeded.*larger quota"):
        await sync(settings, bucket.name)
    (part,) = settings.data_directory.glob("runs/*/parts/*.csv")
    assert len(read_part(part, 128)) == 3


@pytest.mark.usefixtures("quick_backoff")
async def test_transient_errors_in_a_fifth_of_the_calls_all_end_embedded(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(60)
    rates = dict.fromkeys(("UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED"), 0.05)
    await model_server.configure(error_rates=rates, instant=True)
    done = await sync(settings, bucket.name, batch_size=60)
    (counts,) = done.batches
    assert (counts.embedded, counts.leftover, counts.refused) == (60, 0, 0)
    assert counts.retries == counts.calls - 60 > 0
    by_code = (await model_server.statistics()).by_code or {}
    assert set(by_code) == {"OK", *rates}
    assert by_code["OK"] == 60


@pytest.mark.usefixtures("quick_backoff")
async def test_an_image_that_cannot_be_had_in_its_time_is_left_for_the_next_run(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await model_server.configure(error_rates={"UNAVAILABLE": 1.0}, instant=True)
    short = settings.model_copy(update={"image_time_budget_seconds": 0.3})
    async with open_run(options(bucket.name), short, "test") as run:
        await prepare(run)
        counts = await embed_batch(run, 1)
    assert (counts.leftover, counts.embedded, counts.refused) == (4, 0, 0)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0
    await model_server.configure()
    assert (await sync(settings, bucket.name)).total("embedded") == 4


@pytest.mark.usefixtures("quick_backoff")
async def test_a_call_that_hangs_is_given_up_and_made_again(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    async def three_were_given_up() -> bool:
        return await model_server.calls() >= 3

    bucket.put_pictures(3)
    await model_server.configure(latency_seconds=30, instant=True)
    impatient = settings.model_copy(update={"request_timeout_seconds": 0.5})
    async with open_run(options(bucket.name), impatient, "test") as run:
        await prepare(run)
        batch = asyncio.create_task(embed_batch(run, 1))
        await until(three_were_given_up)
        await model_server.configure(instant=True)
        counts = await asyncio.wait_for(batch, 20)
    assert counts.embedded == 3
    assert counts.retries >= 3


async def test_refusals_are_kept_with_their_reason_and_not_asked_for_again(
    run: Run, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(3)
    bucket.put("text.jpg", b"this is not a picture", "image/jpeg")
    await prepare(run)
    counts = await embed_batch(run, 1)
    assert (counts.embedded, counts.refused, counts.leftover, counts.calls) == (3, 1, 0, 4)
    refusals = """
    SELECT image_id, attempts, reason
    FROM birdwalk.refusals JOIN birdwalk.listings USING (content_key)
    """
    ((name, attempts, reason),) = await fetch(url, refusals)
    assert (name, attempts) == ("text.jpg", 1)
    assert reason.startswith("Image embedding failed with the following error: ")
    again = await embed_batch(run, 1)
    assert (again.refused, again.recovered, again.calls) == (1, 3, counts.calls)
    assert await model_server.calls() == 4


async def test_a_denied_call_stops_the_run_at_once_with_the_remedy(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(40)
    await model_server.configure(denied=True)
    with pytest.raises(SystemicFailure, match=r"aiplatform\.user.*storage\.objectViewer"):
        await sync(settings, bucket.name, requests_per_minute=30)
    assert await model_server.calls() <= 3
    verdict, message = (await fetch(url, "SELECT verdict, message FROM birdwalk.runs"))[0]
    assert verdict == "failed"
    assert "roles/aiplatform.user" in message
    await model_server.configure()
    assert (await sync(settings, bucket.name)).total("embedded") == 40


@pytest.mark.usefixtures("quick_backoff")
async def test_an_image_the_model_cannot_read_in_time_is_sent_as_bytes(
    run: Run, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(4)
    await model_server.configure(error_rates={"UNAUTHENTICATED": 1.0})
    await prepare(run)
    counts = await embed_batch(run, 1)
    assert (counts.embedded, counts.calls, counts.retries) == (4, 12, 8)
    by_code = (await model_server.statistics()).by_code
    assert by_code == {"UNAUTHENTICATED": 8, "OK": 4}
    await model_server.configure()
    for name, vector in embedded(run).items():
        read = await run.clients.embedder.embed_uri(f"gs://{bucket.name}/{name}")
        assert np.linalg.norm(vector - read) < 1e-4
