"""What cannot be asked of an index, or answered, is said in an error that names it."""

from pathlib import Path

import pytest

from tasks.core.errors import (
    EmptyIndex,
    QuotaExceeded,
    UnknownImage,
    UnknownIndex,
    UnreadablePicture,
)
from tasks.core.planning import create_table
from tasks.core.publishing import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.searching import question_vector
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import Searcher, open_searcher
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.model_server import ModelServer
from tests.support.sync import options

INDEX = "image_embeddings"

ERRORS: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "unknown image": (
        {"image_id": "airplane.png"},
        UnknownImage,
        r"'airplane\.png' is not in index 'image_embeddings'\. Did you mean 'planes/airplane\.png'",
    ),
    "nothing like it": (
        {"image_id": "\u2603"},
        UnknownImage,
        r"is not in index .*\. Give the",
    ),
    "no such object": ({"uri": "gs://birdwalk/none.png"}, UnknownImage, "There is no gs://birdw"),
    "no such bucket": ({"uri": "gs://none/none.png"}, UnknownImage, "There is no gs://none/none"),
    "an object that is no image": (
        {"uri": "gs://birdwalk/LICENSE.txt"},
        UnreadablePicture,
        "does not take gs://birdwalk/LICENSE.txt",
    ),
    "no such file": ({"file": Path("none.png")}, UnreadablePicture, "none.png cannot be read"),
    "no picture": ({"data": b"text"}, UnreadablePicture, "The upload is not a picture"),
}


@pytest.mark.parametrize("fault", ERRORS)
async def test_what_cannot_be_asked_is_said(samples: Searcher, fault: str) -> None:
    asked, error, message = ERRORS[fault]
    with pytest.raises(error, match=message):
        await find_similar(samples, INDEX, Question(**asked))  # type: ignore[arg-type]  # real fields


async def test_an_index_that_is_not_there_yet_is_said(
    settings: Settings, bucket: LocalBucket
) -> None:
    question = Question(image_id="0000.png")
    async with open_searcher(settings) as searcher:
        with pytest.raises(UnknownIndex, match="'image_embeddings' does not exist"):
            await find_similar(searcher, INDEX, question)
        async with open_run(options(bucket.name), settings, "test") as run:
            await create_table.create_table(run)
            with pytest.raises(UnknownIndex, match="has not been published yet"):
                await find_similar(searcher, INDEX, question)
            await publish.publish(run)
        with pytest.raises(EmptyIndex, match="holds no image"):
            await find_similar(searcher, INDEX, question)


async def test_a_busy_model_is_asked_again_but_not_for_ever(
    samples: Searcher, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_vector, "FIRST_WAIT_SECONDS", 0.01)
    await model_server.configure(error_rates={"RESOURCE_EXHAUSTED": 1.0})
    with pytest.raises(QuotaExceeded):
        await find_similar(samples, INDEX, Question(text="airplane"))
    assert await model_server.calls() == 3
