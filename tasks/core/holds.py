"""Keep an index to one run at a time, and see which shards are alive: by advisory locks.

A lock is freed when its connection ends, however it ends, so nothing is left behind by a kill -9.
"""

import asyncio
from typing import Protocol

from tasks.core.errors import IndexBusy
from tasks.core.postgres import Connection, Database, translated
from tasks.core.statements import sql


class Hold(Protocol):
    """What a run must have, from its first write to its last."""

    async def take(self) -> None:
        """Have it; where the connection was lost since, have it again.

        Raises:
            IndexBusy: somebody else has it, or it is not to be had.
            DatabaseUnavailable: the server cannot be reached.
        """

    async def release(self) -> None:
        """Let others have it."""


class IndexHold:
    """Keeps an index to one run at a time, by an advisory lock that dies with its holder."""

    def __init__(self, database: Database, index: str, holder: str) -> None:
        self._database = database
        self._index = index
        self._holder = holder
        self._connection: Connection | None = None
        # Batches that find the connection lost must not compete for the lock with each other.
        self._taking = asyncio.Lock()

    async def take(self) -> None:
        """Hold the index; where the connection was lost since, hold it again.

        Raises:
            IndexBusy: another run holds it.
            DatabaseUnavailable: the server cannot be reached.
        """
        async with self._taking:
            if self._connection is None or self._connection.is_closed():
                await self._take()

    async def _take(self) -> None:
        with translated():
            connection = await self._database.connect(self._holder)
            if await connection.fetchval(sql("hold_index"), self._index):
                self._connection = connection
                return
            row = await connection.fetchrow(sql("select_holder"), self._index)
            await connection.close()
        holder = f"{row['application_name']} since {row['backend_start']:%H:%M:%S}" if row else "?"
        raise IndexBusy(
            f"Index {self._index!r} is held by another run ({holder}). Nothing was done. Wait for"
            " it to end, or cancel it."
        )

    async def release(self) -> None:
        """Let others have the index."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)


class ShardHold:
    """Shows that a shard is alive, by an advisory lock; and that the run it works for still is."""

    def __init__(self, database: Database, index: str, run_id: int, shard: int) -> None:
        self._database = database
        self._index = index
        self._run_id = run_id
        self._shard = shard
        self._connection: Connection | None = None
        self._taking = asyncio.Lock()

    async def take(self) -> None:
        """Be seen alive, for a run that is alive.

        Raises:
            IndexBusy: the run does not hold its index any more, or the shard works already.
            DatabaseUnavailable: the server cannot be reached.
        """
        async with self._taking:
            await self._take()

    async def _take(self) -> None:
        with translated():
            if self._connection is None or self._connection.is_closed():
                name = f"birdwalk run {self._run_id} shard {self._shard}"
                connection = await self._database.connect(name)
                if not await connection.fetchval(sql("hold_shard"), self._run_id, self._shard):
                    await connection.close()
                    raise IndexBusy(f"Shard {self._shard} of run {self._run_id} works already.")
                self._connection = connection
            if await self._connection.fetchrow(sql("select_holder"), self._index) is None:
                raise IndexBusy(
                    f"Run {self._run_id} does not hold index {self._index!r} any more: its flow"
                    " ended or died. What was embedded is kept; its next run goes on from there."
                )

    async def release(self) -> None:
        """Be seen no more."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
