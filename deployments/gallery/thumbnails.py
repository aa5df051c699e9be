"""The thumbnails that the gallery hands out: of images of an index alone, each made once."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from cachetools import LRUCache

from tasks.core.errors import BirdwalkError, UnknownImage
from tasks.core.pictures.thumbnails import Thumbnail, make_thumbnail, read_thumbnail
from tasks.core.searching.browse import find_image
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.registry import require_shown_space
from tasks.core.types import Image

SIDES = {"small": 320, "large": 960}
"""Pixels of the shorter side, by what a page asks for."""

AT_ONCE = 8
"""Objects that are read from storage, or decoded, at the same time."""

CHECKED_SECONDS = 60.0
"""An image that left the index is shown this long at most."""

FAILED_SECONDS = 10.0
"""A picture that could not be read is tried again after this time."""

OVERHEAD_BYTES = 500
"""Of an entry beside its picture, about."""

Result = TypeVar("Result")
Key: TypeAlias = tuple[str, str, str, int, str]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    """A thumbnail, None where there can be none, and when the index was last seen to have it."""

    thumbnail: Thumbnail | None
    checked_at: float

    @property
    def fresh(self) -> bool:
        lasting = FAILED_SECONDS if self.thumbnail is None else CHECKED_SECONDS
        return time.monotonic() - self.checked_at < lasting

    @property
    def weight(self) -> int:
        """Bytes."""
        return OVERHEAD_BYTES + (len(self.thumbnail.data) if self.thumbnail else 0)


class Thumbnails:
    """Makes thumbnails in threads of its own, and keeps as many as fit."""

    def __init__(self, most_bytes: int) -> None:
        self._kept: LRUCache[Key, _Entry] = LRUCache(most_bytes, lambda entry: entry.weight)
        self._making: dict[Key, asyncio.Task[_Entry]] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, "thumbnails")

    def close(self) -> None:
        """Make no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def find(
        self, searcher: Searcher, index: str, place: tuple[str, str], generation: int, size: str
    ) -> Thumbnail | None:
        """Return the thumbnail of an image of an index; None where its object cannot be shown.

        Args:
            searcher: an open one.
            index: by whose leave the object is read.
            place: bucket and name.
            generation: the version to show, as the index told it; where the index has another one
                by now, that is shown.
            size: one of SIDES.

        Raises:
            UnknownImage, UnknownIndex: the index does not have it.
            DatabaseError: Postgres did not answer.
        """
        key = (index, *place, generation, size)
        entry = self._kept.get(key)
        if entry is not None and entry.fresh:
            return entry.thumbnail
        # Whoever asks for the same one meanwhile waits for it too, even where the first goes away.
        if key not in self._making:
            task = asyncio.create_task(self._make(searcher, key, entry))
            self._making[key] = task
            task.add_done_callback(lambda _: self._forget(key))
        return (await asyncio.shield(self._making[key])).thumbnail

    async def draw(self, data: bytes, name: str, size: str) -> Thumbnail:
        """Return the thumbnail of a picture at hand.

        Raises:
            UnreadablePicture: it cannot be decoded.
        """
        return await self._in_thread(lambda: make_thumbnail(data, name, SIDES[size]))

    async def _make(self, searcher: Searcher, key: Key, known: _Entry | None) -> _Entry:
        index, bucket, name, asked, size = key
        async with searcher.database.connection() as connection:
            space = await require_shown_space(connection, index)
            image = await find_image(connection, space, bucket, name)
        if image is None:
            raise UnknownImage(f"gs://{bucket}/{name} is not in index {index!r}.")
        if image.generation != asked:
            # Kept under the version that it is of, whatever was asked for.
            other = await self.find(searcher, index, (bucket, name), image.generation, size)
            return _Entry(other and replace(other, current=False), time.monotonic())
        shown = None if known is None else known.thumbnail
        if shown is None or not shown.current:
            shown = await self._read(searcher, image, size)
        entry = _Entry(shown, time.monotonic())
        with suppress(ValueError):  # heavier than all that may be kept
            self._kept[key] = entry
        return entry

    async def _read(self, searcher: Searcher, image: Image, size: str) -> Thumbnail | None:
        place = (image.bucket, image.image_id, image.generation)
        try:
            client = await searcher.storage()
            return await self._in_thread(lambda: read_thumbnail(client, *place, SIDES[size]))
        except BirdwalkError as error:
            # A page with a blank tile is worth more than no page.
            log.info("No thumbnail: %s", error)
            return None

    def _forget(self, key: Key) -> None:
        task = self._making.pop(key)
        if not task.cancelled():
            # Read here too: whoever asked may have gone away.
            task.exception()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
