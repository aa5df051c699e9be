import asyncio

import pytest

from tasks.core.google.rate_limit import Limiter
from tests.support.virtual_time import run


class Crowd:
    """Calls that hold every place until they are let go, and others that wait."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.entered: list[int] = []
        self.doors: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.left: asyncio.Task[None] | None = None
        """Whom to cancel in the same step in which a call gives its place back."""

    async def _stay(self, number: int) -> None:
        async with self.limiter.slot():
            self.entered.append(number)
            await self.doors[number].wait()
        if self.left is not None:
            self.left.cancel()

    async def add(self, number: int) -> None:
        self.doors[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self._stay(number))
        await asyncio.sleep(10)

    async def let_go(self, number: int) -> None:
        self.doors[number].set()
        await self.tasks[number]


async def full(limiter: Limiter) -> Crowd:
    """Return a crowd that holds the four places of a fast server."""
    for _ in range(200):
        limiter.answered(0.0)
    crowd = Crowd(limiter)
    for number in range(limiter.in_flight_limit):
        await crowd.add(number)
    assert crowd.entered == [0, 1, 2, 3]
    return crowd


def test_a_waiter_enters_when_a_place_is_free() -> None:
    async def scenario(limiter: Limiter) -> None:
        crowd = await full(limiter)
        await crowd.add(4)
        assert crowd.entered == [0, 1, 2, 3]
        await crowd.let_go(2)
        await asyncio.sleep(1)
        assert crowd.entered == [0, 1, 2, 3, 4]

    run(scenario)


def test_an_error_in_the_block_frees_the_place() -> None:
    async def scenario(limiter: Limiter) -> None:
        for _ in range(300):
            with pytest.raises(LookupError):
                async with limiter.slot():
                    raise LookupError
        await full(limiter)

    run(scenario)


@pytest.mark.parametrize("moment", ["waits for a place", "waits for its turn", "is in the block"])
def test_a_cancelled_call_frees_its_place(moment: str) -> None:
    async def scenario(limiter: Limiter) -> None:
        crowd = await full(limiter)
        if moment == "waits for its turn":
            limiter.slow_down(retry_after=1000)
        if moment != "is in the block":
            await crowd.let_go(0)
            await crowd.add(4)
            cancelled = 4
            if moment == "waits for a place":
                await crowd.add(5)
                cancelled = 5
        else:
            cancelled = 0
        await crowd.add(6)
        crowd.tasks[cancelled].cancel()
        await asyncio.wait([crowd.tasks[cancelled]])
        if moment == "waits for a place":
            await crowd.let_go(1)
        await asyncio.sleep(2000)
        assert crowd.entered[-1] == 6

    run(scenario)


def test_a_waiter_cancelled_as_it_is_called_in_passes_the_call_on() -> None:
    async def scenario(limiter: Limiter) -> None:
        crowd = await full(limiter)
        await crowd.add(4)
        await crowd.add(5)
        crowd.left = crowd.tasks[4]
        await crowd.let_go(0)
        await asyncio.sleep(1)
        assert crowd.entered == [0, 1, 2, 3, 5]

    run(scenario)


def test_all_waiters_enter_when_the_places_become_more() -> None:
    async def scenario(limiter: Limiter) -> None:
        crowd = await full(limiter)
        for number in range(4, 10):
            await crowd.add(number)
        for _ in range(200):
            limiter.answered(5.0)
        await crowd.let_go(0)
        await asyncio.sleep(10)
        assert crowd.entered == list(range(10))

    run(scenario)
