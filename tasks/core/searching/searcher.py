"""What asking an index takes: the database, and the model and the bucket when they are needed."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tasks.core.database.connections import Database, open_database
from tasks.core.google.storage import open_client
from tasks.core.google.vertex import VertexEmbedder, open_embedder
from tasks.core.searching.cache import BoundedCache, Lazy
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tasks.core.types import Vector

FAILURE_SECONDS = 10.0
"""Credentials that are missing are not looked for again for each question and thumbnail."""


class Searcher:
    """Holds the connections that questions share. Use `open_searcher` to get one.

    Serves any number of questions at once, of the event loop it was opened in; a question about
    an image of the index needs no Google credentials, since it opens neither client.

    Attributes:
        settings: where everything is.
        database: an open one.
        vectors: of the texts and pictures asked with last, by space: they need no second call.
    """

    def __init__(
        self, settings: Settings, database: Database, stack: AsyncExitStack, remembered: int = 0
    ) -> None:
        self.settings = settings
        self.database = database
        self.vectors: BoundedCache[Hashable, Vector] = BoundedCache(remembered)
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
