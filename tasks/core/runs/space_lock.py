"""Keep a space to one run at a time, and its batches to one process each: by advisory locks.

All that a process holds, one session holds: when the process dies, Postgres frees it. A run whose
session was lost takes its locks again, unless another run was there meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from tasks.core.database.connections import Connection, Database
from tasks.core.database.locks import Holder, SessionLock, find_holder
from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseError, DatabaseUnavailable, SpaceBusy
from tasks.core.runs.outages import SECONDS_WITHOUT_DATABASE
from tasks.core.spaces.registry import SpaceKind

runs = statements_of("tasks.core.runs.runs")
batches = statements_of("tasks.core.runs.batches")

SECONDS_BETWEEN_BEATS = 2.0
"""How often a process asks whether its session still holds its locks."""

SECONDS_TO_COME_BACK = 10.0
"""How long a worker waits for the process of its run to have its lost lock again.

More than a beat and SECONDS_TO_ANSWER of locks.py: as long as its run may take to notice.
"""


class ProcessLock:
    """What a process of a run holds: its place among the workers, and its batches.

    Attributes:
        workers: processes that work for the run, as last counted; this one is among them.
    """

    def __init__(self, database: Database, key: str, name: str) -> None:
        self._database = database
        self._lock = SessionLock(database, key, name)
        self._run_id: int | None = None
        self._batches: set[int] = set()
        # A beat and a claim that both find the session lost must not compete.
        self._taking = asyncio.Lock()
        self.workers = 1

    async def take(self) -> None:
        """Hold all of it; where the session was lost since, hold it again.

        Raises:
            SpaceBusy: somebody else has it, or the run is over.
            DatabaseUnavailable: the server cannot be reached.
        """
        async with self._taking:
            if not await self._lock.answers():
                await self._take_anew()
            await self._require_wanted()
            if self._run_id is not None:
                self.workers = await self._lock.ask(batches("count_workers"), self._run_id)

    async def work_for(self, run_id: int) -> None:
        """Be counted among the processes of a run, which must be under way from now on."""
        async with self._taking:
            self._run_id = run_id
            if await self._lock.answers():
                await self._lock.ask(batches("join_workers"), run_id)
            else:
                await self._take_anew()

    @property
    def batches(self) -> tuple[int, ...]:
        """The batches that this process has."""
        return tuple(self._batches)

    async def claim(self) -> int | None:
        """Return the number of the next batch that nobody has, now this process's; None if none."""
        while True:
            batch: int | None = await self._lock.ask(
                batches("claim_batch"), self._run_id, self.batches
            )
            # Its process may have made it durable after the statement began to look.
            if batch is None or await self._lock.ask(
                batches("select_is_open"), self._run_id, batch
            ):
                break
            await self._lock.ask(batches("release_batch"), self._run_id, batch)
        if batch is not None:
            self._batches.add(batch)
        return batch

    async def give_back(self, batch: int) -> None:
        """Let others claim a batch that this process has claimed."""
        self._batches.discard(batch)
        # Without the session nothing is held that could be given back.
        with suppress(DatabaseUnavailable):
            await self._lock.ask(batches("release_batch"), self._run_id, batch)

    async def release(self) -> None:
        """Let others have it all."""
        await self._lock.release()

    async def _take_anew(self) -> None:
        holder = await self._lock.take()
        if holder is not None:
            raise self._is_busy(holder)
        try:
            if self._run_id is not None:
                await self._lock.ask(batches("join_workers"), self._run_id)
                for batch in self._batches:
                    # Where another process has it by now, both do it, and the first counts.
                    await self._lock.ask(batches("hold_batch"), self._run_id, batch)
        except BaseException:
            await self._lock.release()
            raise

    def _is_busy(self, holder: Holder) -> SpaceBusy:
        return SpaceBusy(f"{holder} does the same work.")

    async def _require_wanted(self) -> None:
        """Stop where the run is over."""
        if self._run_id is None:
            return
        if await self._lock.ask(runs("select_run"), self._run_id) is None:
            raise SpaceBusy(
                f"Run {self._run_id} is over: it ended, or it lost its connection and another run"
                " had its space meanwhile. What was embedded is kept. Run again."
            )


class SpaceLock(ProcessLock):
    """Held by the process that a run was started in: the space is no other run's."""

    def __init__(self, database: Database, space: SpaceKind, name: str) -> None:
        super().__init__(database, space_key(space), name)
        self._space = space

    def _is_busy(self, holder: Holder) -> SpaceBusy:
        done = "What was embedded is kept" if self._run_id else "Nothing was done"
        return SpaceBusy(
            f"The space of {self._space} is held by another run ({holder}). {done}. Wait for it"
            " to end, or cancel it."
        )


class PlanLock(ProcessLock):
    """Held by a run that only plans: it keeps nobody out, and shows that the run is alive."""

    def __init__(self, database: Database, space: SpaceKind, name: str) -> None:
        super().__init__(database, f"birdwalk plan of {space} {uuid4()}", name)


class WorkerLock(ProcessLock):
    """Held by a further process that works for a run; fails when the run's own process is gone."""

    def __init__(self, database: Database, space: SpaceKind, run_id: int) -> None:
        name = f"birdwalk worker of run {run_id}"
        super().__init__(database, f"{name} {uuid4()}", name)
        self._space = space
        self._run_id = run_id

    async def _require_wanted(self) -> None:
        await super()._require_wanted()
        deadline = time.monotonic() + SECONDS_TO_COME_BACK
        while await self._find_owner() is None:
            if time.monotonic() > deadline:
                raise SpaceBusy(
                    f"Run {self._run_id} does not hold its space any more: its flow ended or died."
                    " What was embedded is kept; the next run goes on from there."
                )
            await asyncio.sleep(SECONDS_TO_COME_BACK / 10)
            await super()._require_wanted()

    async def _find_owner(self) -> Holder | None:
        async with self._database.connection() as connection:
            return await find_holder(connection, space_key(self._space))


def space_key(space: SpaceKind) -> str:
    """Return what a run on a space locks."""
    return f"birdwalk space of {space}"


@asynccontextmanager
async def kept(lock: ProcessLock) -> AsyncIterator[None]:
    """Re-acquire the lock after a lost connection; cancel the block where that is not possible.

    Raises:
        SpaceBusy, DatabaseUnavailable: why the block was cancelled.
    """
    block = asyncio.current_task()
    lost: list[DatabaseError] = []

    async def watch() -> None:
        lost.append(await _until_lost(lock))
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
    if block is not None and lost:
        # The block ended before the cancellation reached it.
        block.uncancel()
        raise lost[0]


async def _until_lost(lock: ProcessLock) -> DatabaseError:
    had_at = time.monotonic()
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_BEATS)
        try:
            async with asyncio.timeout(SECONDS_WITHOUT_DATABASE):
                await lock.take()
            had_at = time.monotonic()
        except SpaceBusy as error:
            return error
        except (DatabaseUnavailable, TimeoutError) as error:
            if time.monotonic() - had_at > SECONDS_WITHOUT_DATABASE:
                return DatabaseUnavailable(
                    f"Postgres was away for {SECONDS_WITHOUT_DATABASE:.0f} seconds: {error} Run"
                    " again when it answers. What was embedded is kept."
                )


async def require_running(connection: Connection, run_id: int) -> None:
    """Let a run go on in the caller's transaction; nobody declares it dead meanwhile.

    A process that slept, or lost its network, may not know that its run is over.

    Raises:
        SpaceBusy: it is over.
    """
    if await connection.fetchval(runs("lock_running_run"), run_id) is None:
        raise SpaceBusy(
            f"Run {run_id} is over: it lost its connection, and another run had its space"
            " meanwhile. What was embedded is kept. Run again."
        )
