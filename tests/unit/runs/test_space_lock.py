"""A hold that is kept is had again, and when it is lost for good the work stops with the reason."""

import asyncio

import pytest

from tasks.core.errors import DatabaseUnavailable, SpaceBusy, InvalidInput
from tasks.core.runs import index_lock
from tasks.core.runs.index_lock import kept


class Failing:
    """A hold that is lost in a way that no server can be made to lose it at will."""

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
    monkeypatch.setattr(index_lock, "SECONDS_BETWEEN_BEATS", 0.001)


async def test_a_hold_lost_for_good_stops_the_work_with_the_reason() -> None:
    with pytest.raises(SpaceBusy, match="somebody else has it"):
        async with kept(Failing(SpaceBusy("somebody else has it"))):
            await asyncio.sleep(60)
    assert_not_cancelled()


async def test_work_that_failed_because_the_hold_was_lost_gives_the_reason_too() -> None:
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
    hold = Failing(DatabaseUnavailable("away"), TimeoutError("slow"))
    async with kept(hold):
        await hold.often.wait()


async def test_a_database_that_stays_away_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_lock, "SECONDS_WITHOUT_DATABASE", 0.02)
    with pytest.raises(DatabaseUnavailable, match=r"was away for 0 seconds: away .*Run again"):
        async with kept(Failing(*[DatabaseUnavailable("away")] * 1000)):
            await asyncio.sleep(60)


async def test_who_cancels_the_work_from_outside_sees_it_cancelled() -> None:
    hold = Failing()

    async def work() -> None:
        async with kept(hold):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    taken = hold.taken
    await asyncio.sleep(0.01)
    assert hold.taken == taken > 0


async def test_an_error_of_the_work_is_its_own() -> None:
    with pytest.raises(InvalidInput):
        async with kept(Failing()):
            raise InvalidInput("no")


def assert_not_cancelled() -> None:
    """The cancellation was the hold's own: the caller's task goes on."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
