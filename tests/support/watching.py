"""A reader who polls an index's view all the time, and remembers every state that it was in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg

State: TypeAlias = frozenset[tuple[str, str]]
"""The rows of a view: an object's address, and its vector."""

ROWS = "SELECT content, embedding::text FROM image_embeddings"
ALIKE = "SELECT image_id FROM find_similar($1, 2)"


async def read_state(connection: asyncpg.Connection) -> State:
    """Return what a reader sees now; no address may come twice."""
    rows = await connection.fetch(ROWS)
    state = frozenset((content, vector) for content, vector in rows)
    assert len({content for content, _ in state}) == len(rows)
    return state


async def state_of(url: str) -> State:
    """Return what readers see, by a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await read_state(connection)
    finally:
        await connection.close()


class Watcher:
    """Polls until it is told to stop; an error of its connection is an error of the test.

    Attributes:
        states: what was seen, in order, each change of it once.
        polls: how often it looked.
    """

    def __init__(self, url: str, stays: str) -> None:
        self._url = url
        self._stays = stays
        self._over = False
        self.states: list[State] = []
        self.polls = 0

    async def run(self) -> None:
        """Poll; before the first publication there is no view, and that is no error."""
        # As any client's: its statements stay prepared.
        connection = await asyncpg.connect(self._url)
        while not self._over:
            with suppress(*(() if self.states else (asyncpg.UndefinedTableError,))):
                state = await read_state(connection)
                if self.states[-1:] != [state]:
                    self.states.append(state)
                alike = await connection.fetch(ALIKE, self._stays)
                assert len(alike) == 2
            self.polls += 1
            await asyncio.sleep(0)
        await connection.close()

    async def look(self) -> None:
        """Return once it has looked from now on, begun and ended."""
        enough = self.polls + 2
        while self.polls < enough and not self._task.done():  # noqa: ASYNC110 - it counts for itself
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["Watcher"]:
        """Poll while the block lasts."""
        self._task = asyncio.create_task(self.run())
        try:
            yield self
        finally:
            self._over = True
            await self._task
