"""What the gallery's pages share: the searcher, the thumbnails, and the pictures dropped lately."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from cachetools import LRUCache, TTLCache

from deployments.gallery.thumbnails import Thumbnails
from tasks.core.database.connections import Connection
from tasks.core.errors import BirdwalkError, InvalidInput, QuotaExceeded, UnknownImage
from tasks.core.models import EmbeddingModel, find_model
from tasks.core.pictures.preparing import find_preparation
from tasks.core.pictures.scaling import prepare_picture
from tasks.core.searching.browse import list_published
from tasks.core.searching.searcher import Lazy, Searcher, open_searcher
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space, count_shown, require_shown_space

REMEMBERED_QUESTIONS = 500
DROPPED_BYTES = 64_000_000
"""Of the pictures dropped lately: each view of theirs can be reloaded while they are kept."""

MODEL_QUESTIONS_AT_ONCE = 4
MODEL_QUESTIONS_WAITING = 16
UPLOADS_AT_ONCE = 8
"""Being read, waiting or being prepared: of 20 MB at most each, so 160 MB in all."""

PREPARED_AT_ONCE = 2
"""A picture of 89 megapixels takes half a gigabyte while it is decoded and scaled."""

MEGABYTE = 1_000_000
AGAIN_SECONDS = 1.0
"""A database that is away is not asked again for each of a page's requests."""

COUNTED_SPACES = 100
COUNTED_SECONDS = 60.0
"""A million images take half a second to count; after a publish they are counted anew."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DroppedPicture:
    """A picture to ask with; the original, of up to 20 MB, is not kept.

    Attributes:
        data: encoded, as the pictures of the space were prepared.
        preprocessing: how that was.
        shown: the whole picture, encoded and small, for the page.
    """

    data: bytes
    preprocessing: str
    shown: bytes

    @property
    def weight(self) -> int:
        """Bytes."""
        return len(self.data) + (0 if self.shown is self.data else len(self.shown))


class Gallery:
    """The state of a running gallery. Use `open_gallery` to get one.

    Attributes:
        settings: where everything is.
        index: the one that is shown to who names none.
        thumbnails: of images of the indexes.
    """

    def __init__(self, settings: Settings, index: str, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.index = index
        self.thumbnails = Thumbnails(settings.gallery_cache_mb * MEGABYTE)
        self._stack = stack
        self._searcher = Lazy(self._open, AGAIN_SECONDS)
        self._dropped: LRUCache[str, DroppedPicture] = LRUCache(
            DROPPED_BYTES, lambda picture: picture.weight
        )
        self._counts: TTLCache[tuple[object, ...], int] = TTLCache(COUNTED_SPACES, COUNTED_SECONDS)
        self._model = asyncio.Semaphore(MODEL_QUESTIONS_AT_ONCE)
        self._asking = 0
        self._preparing = asyncio.Semaphore(PREPARED_AT_ONCE)
        self._uploading = 0

    async def searcher(self) -> Searcher:
        """Return the one searcher of this process, opened as soon as the database lets it.

        Raises:
            DatabaseError: Postgres did not answer, or may not be read.
            UnknownIndex: there is no index in it yet.
        """
        return await self._searcher.get()

    async def _open(self) -> Searcher:
        return await self._stack.enter_async_context(
            open_searcher(self.settings, read_only=True, remembered=REMEMBERED_QUESTIONS)
        )

    async def published(self) -> tuple[str, ...]:
        """Return the names of the indexes there are, the one to show first at the front.

        Raises:
            DatabaseError: Postgres did not answer, or may not be read.
        """
        searcher = await self.searcher()
        async with searcher.database.connection() as connection:
            found = await list_published(connection)
        return tuple(sorted(found, key=lambda name: (name != self.index, name)))

    async def count_images(self, connection: Connection, space: Space) -> int:
        """Return how many images readers see in a space, or would, as of a minute ago at most."""
        key = (space.space_id, space.published_at)
        if key not in self._counts:
            self._counts[key] = await count_shown(connection, space)
        return int(self._counts[key])

    async def choose_index(self, asked: str) -> str:
        """Return the index that was asked for, or the one to show to who names none.

        That is the one the gallery was started with, or the first other one while that is not
        published.

        Raises:
            InvalidInput: no index can have that name.
            DatabaseError: Postgres did not answer, or may not be read.
        """
        if "\0" in asked:
            raise InvalidInput("The name of an index holds a NUL.")
        if asked:
            return asked
        published = await self.published()
        return published[0] if published else self.index

    async def keep_picture(self, index: str, data: bytes) -> str:
        """Make a dropped picture ready to be asked with; return the name it is kept under.

        Raises:
            UnreadablePicture: it is not a picture of the model's formats.
            UnknownIndex: there is nothing to ask.
        """
        searcher = await self.searcher()
        async with searcher.database.connection() as connection:
            space = await require_shown_space(connection, index)
        model = find_model(space.model, space.dimension)
        async with self._preparing:
            picture = await asyncio.to_thread(_prepare, data, model, space.preprocessing)
        name = hashlib.sha256(space.preprocessing.encode() + b"\0" + data).hexdigest()[:32]
        with suppress(ValueError):  # heavier than all that may be kept
            self._dropped[name] = picture
        return name

    def find_picture(self, name: str) -> DroppedPicture:
        """Return a picture that was dropped lately.

        Raises:
            UnknownImage: it is not kept any more.
        """
        picture = self._dropped.get(name)
        if picture is None:
            raise UnknownImage("This picture is not kept any more. Drop it on the page again.")
        return picture

    @asynccontextmanager
    async def asking_the_model(self) -> AsyncIterator[None]:
        """Wait for one's turn to ask a question that may cost a call.

        Raises:
            QuotaExceeded: too many wait already.
        """
        if self._asking >= MODEL_QUESTIONS_AT_ONCE + MODEL_QUESTIONS_WAITING:
            raise QuotaExceeded("Many people are asking just now. Try again in a moment.")
        self._asking += 1
        try:
            async with self._model:
                yield
        finally:
            self._asking -= 1

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Take one of the few places for a picture that is read and prepared.

        Raises:
            QuotaExceeded: all are taken.
        """
        if self._uploading >= UPLOADS_AT_ONCE:
            raise QuotaExceeded("Many pictures are arriving just now. Drop it again in a moment.")
        self._uploading += 1
        try:
            yield
        finally:
            self._uploading -= 1


def _prepare(data: bytes, model: EmbeddingModel, preprocessing: str) -> DroppedPicture:
    # From the original: a crop of a smaller copy is not the crop that the space holds.
    prepare = find_preparation(preprocessing)
    shown = prepare_picture(data, "The picture", model)
    if prepare is prepare_picture:
        return DroppedPicture(shown, preprocessing, shown)
    return DroppedPicture(prepare(data, "The picture", model), preprocessing, shown)


@asynccontextmanager
async def open_gallery(settings: Settings, index: str) -> AsyncIterator[Gallery]:
    """Yield a gallery; a database that is away does not keep it from starting."""
    async with AsyncExitStack() as stack:
        gallery = Gallery(settings, index, stack)
        stack.callback(gallery.thumbnails.close)
        try:
            await gallery.searcher()
        except BirdwalkError as error:
            log.warning("%s The gallery says so until that is mended.", error)
        yield gallery
