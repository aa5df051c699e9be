"""What is done to a picture before it is embedded: the third part of an embedding space's name.

With `none` the model reads each image itself, and its bytes pass through nobody else's hands.
With anything else each image is read here, prepared, and sent with the call.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tasks.core.errors import (
    BucketForbidden,
    ImageRefused,
    InvalidInput,
    StorageError,
    TransientFailure,
    UnexplainedFailure,
    UnreadablePicture,
)
from tasks.core.models import EmbeddingModel

if TYPE_CHECKING:
    from tasks.core.types import Image

Preparation: TypeAlias = Callable[[bytes, str, EmbeddingModel], bytes]
"""From an encoded picture, its name and the model to the bytes that are sent."""

PICTURES_AT_ONCE = 96
"""Held prepared or on their way to the model: enough for 6,000 calls a minute of 0.5 s each."""

READS_AT_ONCE = 10
"""Connections of Google's client; at 50 ms a read they give 200 pictures a second."""

UNPREPARED_AT_ONCE = 16
"""Pictures read and not yet prepared: of 20 MB at most each, so 320 MB in all."""

MOST_PROCESSORS = 8


def reads_images_itself(preprocessing: str) -> bool:
    """Tell whether the model is given the images' addresses, and no bytes."""
    return preprocessing == PREPROCESSING["none"]


def find_preparation(preprocessing: str) -> Preparation:
    """Return what makes a picture ready to be compared with those of a space.

    Raises:
        InvalidInput: a space of another version of birdwalk, whose way is not known here.
    """
    if reads_images_itself(preprocessing):
        from tasks.core.pictures.scaling import prepare_picture

        return prepare_picture
    if preprocessing == PREPROCESSING["subject"]:
        # OpenCV takes a quarter of a second and 20 MB: only who crops loads it.
        from tasks.core.pictures.cropping import crop_to_subject

        return crop_to_subject
    raise InvalidInput(
        f"Preprocessing {preprocessing!r} is not known to this version of birdwalk, which has"
        f" {', '.join(PREPROCESSING.values())}. Run embed-images: it makes a space that is known."
    )


class PictureSource:
    """Says what is sent for an image: with this one its address, since the model reads it.

    Attributes:
        reads_the_listed_version: whether the model sees what was listed, whatever came since.
    """

    reads_the_listed_version = False

    @asynccontextmanager
    async def hold(self, image: "Image") -> AsyncIterator["Picture"]:
        """Yield what is sent for an image, for as long as it is asked for."""
        yield Picture(self, image)

    async def read(self, image: "Image") -> bytes | None:  # noqa: ARG002 - for those that read
        """Return the bytes to send; None where it is the address."""
        return None

    def close(self) -> None:
        """Let go of what `read` took."""


class Picture:
    """What is sent for one image, read when it is first asked for and kept for further attempts."""

    def __init__(self, source: PictureSource, image: "Image") -> None:
        self._source = source
        self._image = image
        self._data: bytes | None = None

    async def read(self) -> bytes | None:
        """Return the bytes to send; None where it is the address.

        Raises:
            EmbeddingError: as PreparedPictures.read.
        """
        if self._data is None:
            self._data = await self._source.read(self._image)
        return self._data


class PreparedPictures(PictureSource):
    """Reads each image in the version that was listed, prepares it in a thread, keeps few at once.

    Args:
        storage: a google.cloud.storage.Client.
        prepare: what is done to each picture; called from several threads.
        model: whose formats are read.
    """

    reads_the_listed_version = True

    def __init__(self, storage: Any, prepare: Preparation, model: EmbeddingModel) -> None:
        self._storage = storage
        self._prepare = prepare
        self._model = model
        self._held = asyncio.Semaphore(PICTURES_AT_ONCE)
        self._unprepared = asyncio.Semaphore(UNPREPARED_AT_ONCE)
        self._readers = ThreadPoolExecutor(READS_AT_ONCE, "read")
        self._preparers: Executor = ThreadPoolExecutor(_processors(), "prepare")

    @asynccontextmanager
    async def hold(self, image: "Image") -> AsyncIterator[Picture]:
        """Yield an image's picture; waits while too many others are in memory."""
        async with self._held:
            yield Picture(self, image)

    async def read(self, image: "Image") -> bytes:
        """Return the prepared bytes of the listed version of an image.

        Raises:
            ImageRefused: it cannot be decoded, or is too large to be.
            ImageGone: that version is not there any more.
            TransientFailure: the storage did not answer.
            UnexplainedFailure: it may not be read.
        """
        from tasks.core.google.storage import download

        async with self._unprepared:
            try:
                data = await download(
                    self._storage,
                    image.bucket,
                    image.image_id,
                    generation=image.generation,
                    threads=self._readers,
                )
            except BucketForbidden as error:
                raise UnexplainedFailure(str(error)) from error
            except StorageError as error:
                raise TransientFailure(str(error)) from error
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(
                    self._preparers, self._prepare, data, "The image", self._model
                )
            except UnreadablePicture as error:
                raise ImageRefused(str(error)) from error

    def close(self) -> None:
        """Drop what has not begun; what has ends by itself."""
        for threads in (self._readers, self._preparers):
            threads.shutdown(wait=False, cancel_futures=True)


def open_source(storage: Any, preprocessing: str, model: EmbeddingModel) -> PictureSource:
    """Return where a run gets its pictures from; needs a running event loop, and to be closed."""
    if reads_images_itself(preprocessing):
        return PictureSource()
    return PreparedPictures(storage, find_preparation(preprocessing), model)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return min(len(os.sched_getaffinity(0)), MOST_PROCESSORS)
    return min(os.cpu_count() or 1, MOST_PROCESSORS)


Crop = Literal["none", "subject"]

PREPROCESSING: dict[Crop, str] = {"none": "none", "subject": "crop-subject-1"}
"""What is done to an image before it is embedded, as an embedding space is known by it; the number
counts the ways in which the subject was found."""
