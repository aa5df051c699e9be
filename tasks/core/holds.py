"""Keep an index to one run at a time, and see which shards are alive: by advisory locks.

A lock is freed when its connection ends, however it ends, so nothing is left behind by a kill -9.
A run that lost its lock has it again only if nobody else had it meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from tasks.core.errors import DatabaseError, DatabaseUnavailable, IndexBusy
from tasks.core.postgres import Connection, Database
from tasks.core.statements import sql
from tasks.core.translation import translated

SECONDS_BETWEEN_BEATS = 2.0
"""How often a kept hold is looked at, whatever its batches do."""

SECONDS_TO_COME_BACK = 4.0
"""How long an index may be held by nobody before its run is dead: a lost lock is taken again."""

SECONDS_WITHOUT_DATABASE = 120.0
"""How long Postgres may be away before a kept hold is lost: it may be restarting."""


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


@asynccontextmanager
async def kept(hold: Hold) -> AsyncIterator[None]:
    """Have a hold again soon after a lost connection; where it is lost for good, stop the block.

    A batch may last for minutes, and pays all the while.

    Raises:
        IndexBusy, DatabaseUnavailable: why the block was cancelled.
    """
    block = asyncio.current_task()
    lost: list[DatabaseError] = []

    async def watch() -> None:
        lost.append(await _until_lost(hold))
        if block is not None:
            block.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except (asyncio.CancelledError, Exception) as error:
        if block is None or not lost:
            raise
        block.uncancel()
        raise lost[0] from error
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _until_lost(hold: Hold) -> DatabaseError:
    had_at = time.monotonic()
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_BEATS)
        try:
            async with asyncio.timeout(SECONDS_WITHOUT_DATABASE):
                await hold.take()
            had_at = time.monotonic()
        except IndexBusy as error:
            return error
        except (DatabaseUnavailable, TimeoutError) as error:
            if time.monotonic() - had_at > SECONDS_WITHOUT_DATABASE:
                return DatabaseUnavailable(
                    f"Postgres was away for {SECONDS_WITHOUT_DATABASE:.0f} seconds: {error} Run"
                    " again when it answers. What was embedded is kept."
                )


class IndexHold:
    """Keeps an index to one run at a time, by an advisory lock that dies with its holder."""

    def __init__(self, database: Database, index: str, holder: str) -> None:
        self._database = database
        self._index = index
        self._holder = holder
        self._run_id: int | None = None
        self._connection: Connection | None = None
        # Batches that find the connection lost must not compete for the lock with each other.
        self._taking = asyncio.Lock()

    def keep_for(self, run_id: int) -> None:
        """Say which run holds the index: it loses it for good when another run registers."""
        self._run_id = run_id

    async def take(self) -> None:
        """Hold the index; where the connection was lost since, hold it again.

        Raises:
            IndexBusy: another run holds it, or held it meanwhile.
            DatabaseUnavailable: the server cannot be reached.
        """
        async with self._taking:
            if self._connection is None or self._connection.is_closed():
                await self._take()

    async def take_shard(self, run_id: int, shard: int) -> bool:
        """Keep a shard that seems dead from coming back, as long as the index is held.

        Returns:
            False where it is alive after all.
        """
        await self.take()
        async with self._taking:
            with translated():
                taken: bool = await self._held().fetchval(sql("hold_shard"), run_id, shard)
        return taken

    def _held(self) -> Connection:
        return self._connection

    async def _take(self) -> None:
        with translated():
            connection = await self._database.connect(self._holder)
            try:
                await self._lock(connection)
            except BaseException:
                connection.terminate()
                raise
        self._connection = connection

    async def _lock(self, connection: Connection) -> None:
        if not await connection.fetchval(sql("hold_index"), self._index):
            row = await connection.fetchrow(sql("select_holder"), self._index)
            holder = (
                f"{row['application_name']} since {row['backend_start']:%H:%M:%S}" if row else "?"
            )
            raise IndexBusy(
                f"Index {self._index!r} is held by another run ({holder}). Nothing was done. Wait"
                " for it to end, or cancel it."
            )
        if self._run_id and await connection.fetchrow(sql("select_run"), self._run_id) is None:
            raise IndexBusy(
                f"Run {self._run_id} lost its connection, and another run had index"
                f" {self._index!r} meanwhile: what this one planned does not hold any more. What"
                " was embedded is kept. Run again."
            )

    async def release(self) -> None:
        """Let others have the index."""
        if self._connection is not None and not self._connection.is_closed():
            # A server that died unnoticed has let go of the lock; the run's own error counts.
            with suppress(OSError):
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
            with translated():
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._lock()
                if not await self._run_is_alive(self._connection):
                    raise IndexBusy(
                        f"Run {self._run_id} does not hold index {self._index!r} any more: its flow"
                        " ended or died. What was embedded is kept; its next run goes on from"
                        " there."
                    )

    async def _lock(self) -> Connection:
        name = f"birdwalk run {self._run_id} shard {self._shard}"
        connection = await self._database.connect(name)
        try:
            taken = await connection.fetchval(sql("hold_shard"), self._run_id, self._shard)
        except BaseException:
            connection.terminate()
            raise
        if not taken:
            await connection.close()
            raise IndexBusy(
                f"Shard {self._shard} of run {self._run_id} works already, or was given up by its"
                " run, which does its batches."
            )
        return connection

    async def _run_is_alive(self, connection: Connection) -> bool:
        deadline = time.monotonic() + SECONDS_TO_COME_BACK
        # The holder may be a later run: that one has declared this run dead.
        while await connection.fetchrow(sql("select_run"), self._run_id) is not None:
            if await connection.fetchrow(sql("select_holder"), self._index) is not None:
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(SECONDS_TO_COME_BACK / 10)
        return False

    async def release(self) -> None:
        """Be seen no more."""
        if self._connection is not None and not self._connection.is_closed():
            # A server that died unnoticed has let go of the lock; the run's own error counts.
            with suppress(OSError):
                await self._connection.close(timeout=5)
