"""What asking an index takes: the database, and the model and the bucket when they are needed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tasks.core.gcs import open_client
from tasks.core.postgres import Database, open_database
from tasks.core.settings import Settings
from tasks.core.types import Space
from tasks.core.vertex import VertexEmbedder, open_embedder


class Searcher:
    """Holds the connections that questions share. Use `open_searcher` to get one.

    Serves any number of questions at once, of the event loop it was opened in; a question about
    an image of the index needs no Google credentials, since it opens neither client.

    Attributes:
        settings: where everything is.
        database: an open one.
    """

    def __init__(self, settings: Settings, database: Database, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.database = database
        self._stack = stack
        self._embedders: dict[tuple[str, int], VertexEmbedder] = {}
        self._storage: Any = None
        self._opening = asyncio.Lock()

    async def embedder(self, space: Space) -> VertexEmbedder:
        """Return the embedder of a space's own model and dimension.

        Raises:
            SystemicFailure: there are no credentials, or no project is known.
        """
        key = (space.model, space.dimension)
        async with self._opening:
            if key not in self._embedders:
                self._embedders[key] = await self._stack.enter_async_context(
                    open_embedder(self.settings, *key)
                )
        return self._embedders[key]

    def storage(self) -> Any:
        """Return the google.cloud.storage.Client.

        Raises:
            StorageError: there are no Google credentials.
        """
        if self._storage is None:
            self._storage = open_client(self.settings)
            self._stack.callback(self._storage.close)
        return self._storage


@asynccontextmanager
async def open_searcher(settings: Settings) -> AsyncIterator[Searcher]:
    """Yield a searcher; must run inside the event loop that will use it.

    Raises:
        DatabaseUnavailable: Postgres cannot be reached.
        DatabaseError: the user may not create birdwalk's schema.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        yield Searcher(settings, database, stack)
