"""An index of pictures cropped to their subject: a space of its own, asked in its own way."""

from pathlib import Path

import pytest

from tasks.core.database.connections import open_database
from tasks.core.maintenance.check_index import HealthLimits, check_index
from tasks.core.maintenance.rollback import switch_space
from tasks.core.reports.health import health_markdown
from tasks.core.reports.similar import answer_markdown
from tasks.core.runs.lifecycle import open_run
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import open_searcher
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import fetch, fetchval
from tests.support.drawings import draw_bird, encode, sky
from tests.support.model_server import ModelServer
from tests.support.sync import load, options, prepare, sync

INDEX = "image_embeddings"
SPACES = """
SELECT preprocessing, spaces.space_id = indexes.space_id
FROM birdwalk.spaces JOIN birdwalk.indexes USING (index_id) ORDER BY spaces.space_id
"""
COLOURS = ("#c08030", "#f4f4f4", "#b03030", "#303030", "#e0c020")
# Falls only on images whose address is sent.
NO_ADDRESS_IS_READ = {"UNAUTHENTICATED": 1.0}


def scene(number: int) -> bytes:
    """Return a picture of a bird of its own colour, size and place."""
    image = sky(320, 240, number)
    draw_bird(image, 40 + 45 * number, 30 + 12 * number, 40 + 4 * number, COLOURS[number])
    return encode(image)


@pytest.fixture
def scenes(bucket: LocalBucket) -> LocalBucket:
    """A bucket with five pictures of small birds on a sky."""
    for number in range(len(COLOURS)):
        bucket.put(f"{number}.png", scene(number))
    return bucket


@pytest.fixture
def elsewhere(scenes: LocalBucket) -> LocalBucket:
    """A bucket with a copy of one of them."""
    other = LocalBucket(f"{scenes.name}-2", scenes.client)
    other.client.create_bucket(other.name)
    other.put("copy.png", scene(3))
    return other


async def test_a_crop_fills_a_space_of_its_own_with_bytes_and_publishes_it(
    settings: Settings, scenes: LocalBucket, model_server: ModelServer, url: str
) -> None:
    await sync(settings, scenes.name)
    whole = await fetch(url, "SELECT image_id, embedding::text FROM image_embeddings")
    await model_server.configure(error_rates=NO_ADDRESS_IS_READ)
    await model_server.reset()
    synced = await sync(settings, scenes.name, crop="subject")
    assert (synced.plan.calls, synced.total("retries")) == (5, 0)
    assert await model_server.calls() == 5
    assert await fetch(url, SPACES) == [("none", False), ("crop-subject-1", True)]
    cropped = await fetch(url, "SELECT image_id, embedding::text FROM image_embeddings")
    assert len(cropped) == 5
    assert not set(whole) & set(cropped)
    recorded = "SELECT preprocessing FROM birdwalk.runs ORDER BY run_id"
    assert await fetch(url, recorded) == [("none",), ("crop-subject-1",)]
    # What is there is not asked for again.
    again = await sync(settings, scenes.name, crop="subject")
    assert (again.plan.calls, again.plan.unchanged) == (0, 5)


async def test_a_picture_to_ask_with_is_cropped_as_those_of_the_space_were(
    settings: Settings,
    scenes: LocalBucket,
    elsewhere: LocalBucket,
    model_server: ModelServer,
    tmp_path: Path,
) -> None:
    await sync(settings, scenes.name, crop="subject")
    await model_server.configure(error_rates=NO_ADDRESS_IS_READ)
    path = tmp_path / "mine.png"
    path.write_bytes(scene(3))
    questions = (
        Question(file=path),
        Question(data=path.read_bytes()),
        Question(uri=f"gs://{elsewhere.name}/copy.png"),
    )
    async with open_searcher(settings) as searcher:
        for question in questions:
            answer = await find_similar(searcher, INDEX, question)
            assert answer.neighbours[0].image_id == "3.png"
            assert answer.neighbours[0].distance == pytest.approx(0, abs=1e-3)
            assert answer.neighbours[1].distance > 0.1
        text = await find_similar(searcher, INDEX, Question(text="a bird"))
        assert len(text.neighbours) == 5
        assert "128 dimensions, crop-subject-1" in answer_markdown(settings, text, b"")


async def test_going_back_asks_the_whole_pictures_with_the_whole_picture(
    settings: Settings, scenes: LocalBucket, url: str
) -> None:
    for crop in ("none", "subject"):
        await sync(settings, scenes.name, crop=crop)
    question = Question(data=scene(3), count=1)
    async with open_searcher(settings) as searcher, open_database(settings) as database:
        for preprocessing in ("none", "crop-subject-1", "none"):
            report = await switch_space(database, INDEX, None, 0.0)
            assert report.space.preprocessing == preprocessing
            answer = await find_similar(searcher, INDEX, question)
            assert answer.space.preprocessing == preprocessing
            assert answer.neighbours[0].distance == pytest.approx(0, abs=1e-3)
        health = await check_index(database, INDEX, HealthLimits())
        assert not health.failed
        assert "128 dimensions, crop-subject-1" in health_markdown(health)
    # The next run of a crop publishes its space again, at no cost.
    assert (await sync(settings, scenes.name, crop="subject")).plan.calls == 0
    assert await fetch(url, SPACES) == [("none", False), ("crop-subject-1", True)]


async def test_only_the_version_that_was_listed_is_embedded(
    settings: Settings, scenes: LocalBucket, model_server: ModelServer
) -> None:
    async with open_run(options(scenes.name, crop="subject"), settings, "test") as run:
        await prepare(run)
        scenes.put("2.png", scene(4))
        scenes.delete("1.png")
        reports = await load(run)
    assert [(report.embedded, report.gone, report.leftover) for report in reports] == [(3, 1, 1)]
    assert await model_server.calls() == 3
    synced = await sync(settings, scenes.name, crop="subject")
    # What is there now is a copy of another picture.
    assert (synced.plan.calls, synced.plan.images("moved or copied")) == (0, 4)
    assert synced.published.images == 4


async def test_what_cannot_be_decoded_is_refused_without_a_call(
    settings: Settings, scenes: LocalBucket, model_server: ModelServer, url: str
) -> None:
    scenes.put("broken.png", b"no picture")
    synced = await sync(settings, scenes.name, crop="subject")
    assert (synced.total("refused"), synced.verdict.images) == (1, 5)
    assert await model_server.calls() == 5
    reason = await fetchval(url, "SELECT reason FROM birdwalk.refusals")
    assert str(reason).startswith("The image is not a picture.")
