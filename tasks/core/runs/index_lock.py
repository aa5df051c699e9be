"""Keep an index to one run at a time, and see which shards are alive: by advisory locks.

A lock is freed when its session ends, so nothing is left behind by a kill -9. A run that lost its
lock has it again only if nobody else had it meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from tasks.core.database.connections import Connection, Database
from tasks.core.database.errors import translated
from tasks.core.database.locks import SessionLock, find_holder
from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseError, DatabaseUnavailable, IndexBusy
from tasks.core.runs.outages import SECONDS_WITHOUT_DATABASE

runs_sql = statements_of("tasks.core.runs.runs")

SECONDS_BETWEEN_BEATS = 2.0
"""How often a kept hold is looked at, whatever its batches do."""

SECONDS_TO_COME_BACK = 10.0
"""How long an index may be held by nobody before its run is dead: a lost lock is taken again.

More than a beat and SECONDS_TO_ANSWER of database/locks.py: as long as its run may take to notice.
"""


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
    """Keeps an index to one run at a time."""

    def __init__(self, database: Database, index: str, holder: str) -> None:
        self._index = index
        self._lock = SessionLock(database, index_key(index), holder)
        self._run_id: int | None = None
        # Batches that find the connection lost must not compete for the lock with each other.
        self._taking = asyncio.Lock()

    def keep_for(self, run_id: int) -> None:
        """Say which run holds the index: it loses it for good when another run registers."""
        self._run_id = run_id

    async def take(self) -> None:
        """Hold the index; where the session was lost since, hold it again.

        Raises:
            IndexBusy: another run holds it, or held it meanwhile.
            DatabaseUnavailable: the server cannot be reached.
        """
        async with self._taking:
            if await self._lock.answers():
                return
            holder = await self._lock.take()
            if holder is not None:
                done = "What was embedded is kept" if self._run_id else "Nothing was done"
                raise IndexBusy(
                    f"Index {self._index!r} is held by another run ({holder}). {done}. Wait for it"
                    " to end, or cancel it."
                )
            try:
                await self._refuse_if_another_ran()
            except BaseException:
                await self._lock.release()
                raise

    async def _refuse_if_another_ran(self) -> None:
        if self._run_id is None:
            return
        with translated():
            row = await self._lock.connection.fetchrow(runs_sql("select_run"), self._run_id)
        if row is None:
            raise IndexBusy(
                f"Run {self._run_id} lost its connection, and another run had index"
                f" {self._index!r} meanwhile: what this one planned does not hold any more. What"
                " was embedded is kept. Run again."
            )

    async def release(self) -> None:
        """Let others have the index."""
        await self._lock.release()


class ShardHold:
    """Shows that a shard is alive; and sees that the run it works for still is, and wants it."""

    def __init__(self, database: Database, index: str, run_id: int, shard: int) -> None:
        self._index = index
        self._run_id = run_id
        self._shard = shard
        name = f"birdwalk run {run_id} shard {shard}"
        self._lock = SessionLock(database, shard_key(run_id, shard), name)
        self._taking = asyncio.Lock()

    async def take(self) -> None:
        """Be seen alive, for a run that is alive.

        Raises:
            IndexBusy: the run does not hold its index any more, or does this shard's batches
                itself, or another process does.
            DatabaseUnavailable: the server cannot be reached.
        """
        async with self._taking:
            if not await self._lock.answers() and await self._lock.take() is not None:
                raise IndexBusy(f"Shard {self._shard} of run {self._run_id} works already.")
            with translated():
                await self._refuse_if_not_wanted(self._lock.connection)

    async def _refuse_if_not_wanted(self, connection: Connection) -> None:
        deadline = time.monotonic() + SECONDS_TO_COME_BACK
        while (row := await connection.fetchrow(runs_sql("select_run"), self._run_id)) is not None:
            if self._shard in row["given_up"]:
                raise IndexBusy(
                    f"Shard {self._shard} of run {self._run_id} was out of sight and was given up"
                    " by its run, which does its batches."
                )
            # The holder may be a later run: that one has declared this run dead.
            if await find_holder(connection, index_key(self._index)) is not None:
                return
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(SECONDS_TO_COME_BACK / 10)
        raise IndexBusy(
            f"Run {self._run_id} does not hold index {self._index!r} any more: its flow ended or"
            " died. What was embedded is kept; its next run goes on from there."
        )

    async def release(self) -> None:
        """Be seen no more."""
        await self._lock.release()


def index_key(index: str) -> str:
    """Return what a run on an index locks."""
    return f"birdwalk index {index}"


def shard_key(run_id: int, shard: int) -> str:
    """Return what a shard of a run locks."""
    return f"birdwalk run {run_id} shard {shard}"
