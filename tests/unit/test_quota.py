import asyncio
import selectors
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from tasks.core.quota import (
    CATCH_UP_SECONDS,
    MOST_IN_FLIGHT,
    RECOVERY_PER_SECOND,
    SLOWDOWN,
    Limiter,
)

PACE = 600.0
"""Requests a minute: one each 0.1 s."""


class VirtualSelector(selectors.DefaultSelector):
    """Lets a waiting loop's time pass at once."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, whose seconds take no time."""

    def __init__(self) -> None:
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


def run(scenario: Callable[[Limiter], Coroutine[Any, Any, None]], pace: float = PACE) -> None:
    """Run a scenario with a limiter, both in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:

        async def main() -> None:
            async with asyncio.timeout(100_000):
                await scenario(Limiter(pace, now))

        runner.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """Calls to a model that answers after `latency` seconds."""

    def __init__(self, limiter: Limiter, latency: float = 0.0) -> None:
        self.limiter = limiter
        self.latency = latency
        self.starts: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def call(self) -> None:
        async with self.limiter.slot():
            self.starts.append(now())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            await asyncio.sleep(self.latency)
            self.in_flight -= 1
            self.limiter.succeeded(self.latency)

    async def calls(self, count: int) -> None:
        await asyncio.gather(*(self.call() for _ in range(count)))


def test_calls_are_spaced_evenly() -> None:
    async def scenario(limiter: Limiter) -> None:
        server = Server(limiter)
        await server.calls(30)
        gaps = [later - start for start, later in pairwise(server.starts)]
        assert gaps == pytest.approx([0.1] * 29)

    run(scenario)


def test_idling_saves_up_no_burst() -> None:
    async def scenario(limiter: Limiter) -> None:
        await asyncio.sleep(3600)
        idle_until = now()
        server = Server(limiter)
        await server.calls(30)
        for number, start in enumerate(server.starts):
            assert start >= idle_until + number * 0.1 - CATCH_UP_SECONDS - 1e-9

    run(scenario)


def test_a_busy_event_loop_does_not_slow_the_pace() -> None:
    async def scenario(limiter: Limiter) -> None:
        server, begin = Server(limiter), now()
        for number in range(100):
            await server.call()
            # As if other work had kept the loop from waking in time, every other call.
            await asyncio.sleep(0.14 if number % 2 else 0.05)
        assert server.starts[-1] - begin == pytest.approx(9.9, abs=0.05)

    run(scenario)


@pytest.mark.parametrize(("latency", "limit"), [(0.0, 4), (1.0, 24), (5.0, 104), (60.0, 256)])
def test_the_places_in_flight_follow_pace_times_latency(latency: float, limit: int) -> None:
    async def scenario(limiter: Limiter) -> None:
        for _ in range(100):
            limiter.succeeded(latency)
        assert limiter.in_flight_limit == limit

    run(scenario)


def test_a_slower_pace_needs_fewer_places() -> None:
    async def scenario(limiter: Limiter) -> None:
        before = limiter.in_flight_limit
        for _ in range(50):
            await asyncio.sleep(1)
            limiter.slow_down()
        assert limiter.in_flight_limit == 4 < before

    run(scenario)


@pytest.mark.parametrize("latency", [0.15, 1.0, 5.0, 12.0])
def test_a_slow_server_does_not_starve_the_pace(latency: float) -> None:
    async def scenario(limiter: Limiter) -> None:
        server, begin = Server(limiter, latency), now()
        await server.calls(600)
        least = 600 * 0.1 + latency
        # It takes some answers to learn how slow the server is.
        assert now() - begin <= least + 3 * latency
        assert server.most_in_flight <= MOST_IN_FLIGHT

    run(scenario)


def test_no_more_are_in_flight_than_there_are_places() -> None:
    async def scenario(limiter: Limiter) -> None:
        server = Server(limiter, 1e5 / 2)
        calls = asyncio.create_task(server.calls(300))
        await asyncio.sleep(1e4)
        assert server.in_flight == limiter.in_flight_limit == 24
        calls.cancel()
        await asyncio.wait([calls])

    run(scenario)


def test_slowing_down_multiplies_the_pace_once_a_second() -> None:
    async def scenario(limiter: Limiter) -> None:
        for _ in range(10):
            limiter.slow_down()
        assert limiter.rate == pytest.approx(10 * SLOWDOWN)
        await asyncio.sleep(0.99)
        limiter.slow_down()
        assert limiter.rate == pytest.approx(10 * SLOWDOWN)
        await asyncio.sleep(0.02)
        limiter.slow_down()
        assert limiter.rate == pytest.approx(10 * SLOWDOWN**2)

    run(scenario)


def test_the_pace_never_dies() -> None:
    async def scenario(limiter: Limiter) -> None:
        for _ in range(1000):
            await asyncio.sleep(1)
            limiter.slow_down()
        assert limiter.rate == pytest.approx(10 / 100)

    run(scenario)


def test_the_pace_is_won_back_evenly_and_never_exceeded() -> None:
    async def scenario(limiter: Limiter) -> None:
        limiter.slow_down()
        lowest = limiter.rate
        for second in range(1, 31):
            await asyncio.sleep(0.5)
            limiter.succeeded(1.0)
            await asyncio.sleep(0.5)
            limiter.succeeded(1.0)
            won = 10 * RECOVERY_PER_SECOND * second
            assert limiter.rate == pytest.approx(min(10, lowest + won))
        await asyncio.sleep(3600)
        limiter.succeeded(1.0)
        assert limiter.rate == 10

    run(scenario)


def test_time_before_a_slowdown_wins_nothing_back() -> None:
    async def scenario(limiter: Limiter) -> None:
        await asyncio.sleep(3600)
        limiter.slow_down()
        limiter.succeeded(1.0)
        assert limiter.rate == pytest.approx(10 * SLOWDOWN)

    run(scenario)


def test_nobody_calls_while_the_server_wants_quiet() -> None:
    async def scenario(limiter: Limiter) -> None:
        server = Server(limiter)
        calls = asyncio.create_task(server.calls(40))
        await asyncio.sleep(0.55)
        before = len(server.starts)
        limiter.slow_down(retry_after=30)
        quiet_until = now() + 30
        await calls
        after = server.starts[before:]
        assert len(server.starts) == 40
        assert min(after) == pytest.approx(quiet_until)
        # And then at the pace, not all at once.
        assert max(after) - min(after) == pytest.approx((len(after) - 1) / (10 * SLOWDOWN), rel=0.1)

    run(scenario)


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    async def scenario(limiter: Limiter) -> None:
        server = Server(limiter)
        calls = asyncio.create_task(server.calls(20))
        await asyncio.sleep(0.05)
        quiet_until = now() + 30
        limiter.slow_down(retry_after=30)
        limiter.slow_down(retry_after=1)
        limiter.slow_down()
        await calls
        assert server.starts[1] == pytest.approx(quiet_until)

    run(scenario)


def test_it_knows_for_how_long_every_answer_was_a_429() -> None:
    async def scenario(limiter: Limiter) -> None:
        await asyncio.sleep(5)
        assert limiter.seconds_refused == 0
        limiter.slow_down()
        await asyncio.sleep(3)
        limiter.slow_down()
        assert limiter.seconds_refused == pytest.approx(3)
        limiter.succeeded(1.0)
        assert limiter.seconds_refused == 0

    run(scenario)


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
        limiter.succeeded(0.0)
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
            limiter.succeeded(5.0)
        await crowd.let_go(0)
        await asyncio.sleep(10)
        assert crowd.entered == list(range(10))

    run(scenario)
