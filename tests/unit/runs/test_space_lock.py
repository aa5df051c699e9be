"""A lock that is kept is taken again; where it is lost for good, the work stops and says why."""

import asyncio

import pytest

from tasks.core.errors import DatabaseUnavailable, InvalidInput, SpaceBusy
from tasks.core.runs import space_lock
from tasks.core.runs.space_lock import ProcessLock, kept


class Failing(ProcessLock):
    """A lock that is lost in a way that no server can be made to lose it at will."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.taken = 0
        self.often = asyncio.Event()

    async def take(self) -> None:
        self.taken += 1
        if self.taken == 5:
            self.often.set()
        if self.errors:
            raise self.errors.pop(0)

    async def release(self) -> None:
        self.errors = []


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_lock, "SECONDS_BETWEEN_BEATS", 0.001)


async def test_a_lock_lost_for_good_stops_the_work_with_the_reason() -> None:
    with pytest.raises(SpaceBusy, match="somebody else has it"):
        async with kept(Failing(SpaceBusy("somebody else has it"))):
            await asyncio.sleep(60)
    assert_not_cancelled()


async def test_work_that_failed_because_the_lock_was_lost_gives_the_reason_too() -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise InvalidInput("in the middle of something") from None

    with pytest.raises(SpaceBusy, match="somebody else has it"):
        async with kept(Failing(SpaceBusy("somebody else has it"))):
            await work()
    assert_not_cancelled()


async def test_a_database_that_comes_back_stops_nothing() -> None:
    lock = Failing(DatabaseUnavailable("away"), TimeoutError("slow"))
    async with kept(lock):
        await lock.often.wait()


async def test_a_database_that_stays_away_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_lock, "SECONDS_WITHOUT_DATABASE", 0.02)
    with pytest.raises(DatabaseUnavailable, match=r"was away for 0 seconds: away .*Run again"):
        async with kept(Failing(*[DatabaseUnavailable("away")] * 1000)):
            await asyncio.sleep(60)


async def test_who_cancels_the_work_from_outside_sees_it_cancelled() -> None:
    lock = Failing()

    async def work() -> None:
        async with kept(lock):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await lock.often.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    taken = lock.taken
    await asyncio.sleep(0.01)
    assert lock.taken == taken


async def test_an_error_of_the_work_is_its_own() -> None:
    with pytest.raises(InvalidInput):
        async with kept(Failing()):
            raise InvalidInput("no")


def assert_not_cancelled() -> None:
    """The cancellation was the lock's own: the caller's task goes on."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
