"""What asking an index takes: the database, and the model and the bucket when they are needed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from tasks.core.database.connections import Database, open_database
from tasks.core.errors import BirdwalkError, StorageError
from tasks.core.google.storage import open_client
from tasks.core.google.vertex import VertexEmbedder, open_embedder
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space

FAILURE_SECONDS = 10.0
"""Credentials that are missing are not looked for again for each question and thumbnail."""

Opened = TypeVar("Opened")


class Lazy(Generic[Opened]):
    """Opens something when it is first asked for, once for all who ask.

    A failure to open it is remembered for some seconds and raised again without another try: to
    find out can take seconds, and a page makes many requests.
    """

    def __init__(self, open_: Callable[[], Awaitable[Opened]], failure_seconds: float) -> None:
        self._open = open_
        self._failure_seconds = failure_seconds
        self._opened: Opened | None = None
        self._failure: BirdwalkError | None = None
        self._failed_at = 0.0
        self._opening = asyncio.Lock()

    async def get(self) -> Opened:
        """Return it; whoever asks while it is being opened waits for that.

        Raises:
            BirdwalkError: it could not be opened, now or within the last seconds.
        """
        async with self._opening:
            if self._opened is not None:
                return self._opened
            if self._failure and time.monotonic() - self._failed_at < self._failure_seconds:
                # A traceback that grows with each who is told would keep all their frames.
                raise self._failure.with_traceback(None)
            try:
                self._opened = await self._open()
            except BirdwalkError as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise
            return self._opened


class Searcher:
    """Holds the connections that questions share. Use `open_searcher` to get one.

    Serves any number of questions at once, of the event loop it was opened in; a question about
    an image of the index needs no Google credentials, since it opens neither client.

    Attributes:
        settings: where everything is.
        database: an open one.
        vectors: of the last texts and pictures asked with, by space: asking again costs no call.
    """

    def __init__(
        self, settings: Settings, database: Database, stack: AsyncExitStack, remembered: int = 0
    ) -> None:
        self.settings = settings
        self.database = database
        self.vectors: LRUCache[Hashable, Any] = LRUCache(remembered)
        self._stack = stack
        self._embedders: dict[tuple[str, int], Lazy[VertexEmbedder]] = {}
        self._storage: Lazy[Any] = Lazy(self._open_storage, FAILURE_SECONDS)

    async def embedder(self, space: Space) -> VertexEmbedder:
        """Return the embedder of a space's own model and dimension.

        Raises:
            SystemicFailure: there are no credentials, or no project is known.
        """
        key = (space.model, space.dimension)
        if key not in self._embedders:
            self._embedders[key] = Lazy(lambda: self._open_embedder(*key), FAILURE_SECONDS)
        return await self._embedders[key].get()

    async def storage(self) -> Any:
        """Return the google.cloud.storage.Client.

        Raises:
            StorageError: there are no Google credentials.
        """
        return await self._storage.get()

    async def storage_or_none(self) -> Any | None:
        """Return the storage client; None without Google credentials: then no picture is drawn."""
        try:
            return await self.storage()
        except StorageError:
            return None

    async def _open_embedder(self, model: str, dimension: int) -> VertexEmbedder:
        return await self._stack.enter_async_context(open_embedder(self.settings, model, dimension))

    async def _open_storage(self) -> Any:
        # It looks for credentials, which can take seconds.
        client = await asyncio.to_thread(open_client, self.settings)
        self._stack.callback(client.close)
        return client


@asynccontextmanager
async def open_searcher(
    settings: Settings, *, read_only: bool = False, remembered: int = 0
) -> AsyncIterator[Searcher]:
    """Yield a searcher; must run inside the event loop that will use it.

    Args:
        settings: where everything is.
        read_only: make no tables; see `open_database`.
        remembered: texts and pictures whose vectors are kept, so that asking again is free.

    Raises:
        DatabaseUnavailable: Postgres cannot be reached.
        DatabaseError: the user may not create birdwalk's schema, or not read it.
        UnknownIndex: no tables are to be made, and there are none.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings, read_only=read_only))
        yield Searcher(settings, database, stack, remembered)
