import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tasks.core.errors import (
    BucketForbidden,
    EmbeddingError,
    ImageGone,
    ImageRefused,
    InvalidInput,
    StorageError,
    TransientFailure,
    UnexplainedFailure,
    UnreadablePicture,
)
from tasks.core.google import storage as google_storage
from tasks.core.models import MULTIMODAL_EMBEDDING, EmbeddingModel
from tasks.core.pictures import preparing
from tasks.core.pictures.cropping import crop_to_subject
from tasks.core.pictures.preparing import (
    PREPROCESSING,
    PictureSource,
    PreparedPictures,
    find_preparation,
    open_source,
    reads_images_itself,
)
from tasks.core.pictures.scaling import prepare_picture
from tasks.core.spaces.registry import Space
from tasks.core.types import Image

IMAGE = Image("b", "a.png", 17, "md5:a")


def reverse(data: bytes, _name: str, _model: EmbeddingModel) -> bytes:
    return data[::-1]


class Storage:
    """Answers downloads in the way it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[tuple[str, str, int | None]] = []
        self.at_once = self.most_at_once = 0

    async def download(
        self, _client: Any, bucket: str, name: str, *, generation: int, threads: Any
    ) -> bytes:
        assert threads is not None
        self.asked.append((bucket, name, generation))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0.001)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return b"abc"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    answering = Storage()
    monkeypatch.setattr(google_storage, "download", answering.download)
    return answering


@pytest.fixture
async def source() -> AsyncIterator[PreparedPictures]:
    opened = PreparedPictures(None, reverse, MULTIMODAL_EMBEDDING)
    yield opened
    opened.close()


def test_each_preprocessing_has_its_way_and_another_version_s_has_none() -> None:
    assert find_preparation(PREPROCESSING["none"]) is prepare_picture
    assert find_preparation(PREPROCESSING["subject"]) is crop_to_subject
    with pytest.raises(InvalidInput, match=r"'crop-subject-9' is not known.*crop-subject-1"):
        find_preparation("crop-subject-9")
    assert [reads_images_itself(name) for name in PREPROCESSING.values()] == [True, False]


async def test_without_preprocessing_nothing_is_read() -> None:
    source = open_source(None, "none", MULTIMODAL_EMBEDDING)
    assert type(source) is PictureSource
    async with source.hold(IMAGE) as picture:
        assert await picture.read() is None
    source.close()


async def test_the_listed_version_is_read_once_and_prepared(
    source: PreparedPictures, storage: Storage
) -> None:
    async with source.hold(IMAGE) as picture:
        assert await picture.read() == b"cba"
        assert await picture.read() == b"cba"
    assert storage.asked == [("b", "a.png", 17)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StorageError("503"), TransientFailure),
        (BucketForbidden("no storage.objects.get"), UnexplainedFailure),
        (ImageGone("overwritten"), ImageGone),
    ],
)
async def test_what_the_storage_answers_says_what_can_be_done(
    source: PreparedPictures, storage: Storage, error: Exception, kind: type[EmbeddingError]
) -> None:
    storage.error = error
    async with source.hold(IMAGE) as picture:
        with pytest.raises(kind, match=str(error)):
            await picture.read()
        storage.error = None
        assert await picture.read() == b"cba"


async def test_what_cannot_be_decoded_is_refused(storage: Storage) -> None:
    def refuse(_data: bytes, name: str, _model: EmbeddingModel) -> bytes:
        raise UnreadablePicture(f"{name} has too many pixels.")

    source = PreparedPictures(None, refuse, MULTIMODAL_EMBEDDING)
    with pytest.raises(ImageRefused, match=r"The image has too many pixels\."):
        await source.read(IMAGE)
    source.close()
    assert storage.asked


async def test_few_pictures_are_in_memory_at_once(
    source: PreparedPictures, storage: Storage
) -> None:
    held = most_held = 0

    async def send() -> None:
        nonlocal held, most_held
        async with source.hold(IMAGE) as picture:
            held += 1
            most_held = max(held, most_held)
            await picture.read()
            held -= 1

    await asyncio.gather(*(send() for _ in range(300)))
    assert most_held == preparing.PICTURES_AT_ONCE
    assert storage.most_at_once == preparing.UNPREPARED_AT_ONCE


async def test_preparing_leaves_the_event_loop_free(storage: Storage) -> None:
    def slow(data: bytes, _name: str, _model: EmbeddingModel) -> bytes:
        time.sleep(0.3)
        return data

    source = PreparedPictures(None, slow, MULTIMODAL_EMBEDDING)
    reading = asyncio.create_task(source.read(IMAGE))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0.001)
        turns += 1
    source.close()
    assert storage.asked
    assert turns > 3


async def test_a_picture_that_is_waited_for_no_longer_gives_its_place_back(
    source: PreparedPictures, storage: Storage
) -> None:
    task = asyncio.create_task(source.read(IMAGE))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert storage.asked
    assert source._unprepared._value == preparing.UNPREPARED_AT_ONCE


def test_a_space_is_named_with_its_preprocessing_only_where_there_is_one() -> None:
    plain = Space(1, 1, "photos", "m@1", 128, "none", "active")
    assert (plain.label, plain.parameters) == ("m@1, 128 dimensions", "model m@1, dimension 128")
    crop = Space(2, 1, "photos", "m@1", 128, PREPROCESSING["subject"], "active")
    assert crop.label == "m@1, 128 dimensions, crop-subject-1"
    assert crop.parameters == "model m@1, dimension 128, crop subject"
