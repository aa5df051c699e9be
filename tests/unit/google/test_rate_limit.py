import asyncio
from itertools import pairwise

import pytest

from tasks.core.google.rate_limit import (
    CATCH_UP_SECONDS,
    MOST_IN_FLIGHT,
    RECOVERY_PER_SECOND,
    SLOWDOWN,
    Limiter,
)
from tests.support.virtual_time import now, run, stall


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
            self.limiter.answered(self.latency)

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


def test_a_stall_is_followed_by_no_burst() -> None:
    async def scenario(limiter: Limiter) -> None:
        server = Server(limiter)
        calling = asyncio.create_task(server.calls(60))
        await asyncio.sleep(1.05)
        before = len(server.starts)
        # The machine sleeps for three seconds, in which thirty turns were due.
        stall(3.0)
        begin = now()
        await calling
        after = server.starts[before:]
        for number, start in enumerate(after):
            assert start >= begin + (number - 1) * 0.1 - CATCH_UP_SECONDS - 1e-9
        assert after[-1] <= begin + len(after) * 0.1 + 3.0

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
            limiter.answered(latency)
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
            limiter.answered(1.0)
            await asyncio.sleep(0.5)
            limiter.answered(1.0)
            won = 10 * RECOVERY_PER_SECOND * second
            assert limiter.rate == pytest.approx(min(10, lowest + won))
        await asyncio.sleep(3600)
        limiter.answered(1.0)
        assert limiter.rate == 10

    run(scenario)


def test_time_before_a_slowdown_wins_nothing_back() -> None:
    async def scenario(limiter: Limiter) -> None:
        await asyncio.sleep(3600)
        limiter.slow_down()
        limiter.answered(1.0)
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
        limiter.answered(1.0)
        assert limiter.seconds_refused == 0

    run(scenario)


def test_the_quota_is_shared_by_the_processes_of_a_run_and_taken_back() -> None:
    async def scenario(limiter: Limiter) -> None:
        for processes, gap in ((2, 0.2), (4, 0.4), (1, 0.1)):
            limiter.share(processes)
            # What was due by the pace before may still come at once.
            await asyncio.sleep(10)
            server = Server(limiter)
            await server.calls(10)
            gaps = [later - start for start, later in pairwise(server.starts)]
            assert gaps[1:] == pytest.approx([gap] * 8)

    run(scenario)


def test_a_share_of_a_slowed_pace_is_slowed_as_much_and_wins_back_no_more_than_its_share() -> None:
    async def scenario(limiter: Limiter) -> None:
        limiter.slow_down()
        limiter.share(2)
        assert limiter.rate == pytest.approx(10 / 2 * SLOWDOWN)
        await asyncio.sleep(3600)
        limiter.answered(1.0)
        assert limiter.rate == pytest.approx(10 / 2)

    run(scenario)


BURST = 3.0
"""Calls that a server takes at once, as the local one does."""


class QuotaServer:
    """A model that holds a quota: what is over it gets a 429, and is asked again."""

    def __init__(self, limiter: Limiter, per_second: float, latency: float = 0.15) -> None:
        self.limiter = limiter
        self.per_second = per_second
        self.latency = latency
        self.tokens, self.counted_at = BURST, now()
        self.accepted: list[float] = []
        self.refused = 0

    def _is_within_the_quota(self) -> bool:
        self.tokens = min(BURST, self.tokens + (now() - self.counted_at) * self.per_second)
        self.counted_at = now()
        if self.tokens < 1 - 1e-6:
            return False
        self.tokens -= 1
        return True

    async def ask(self) -> None:
        while True:
            async with self.limiter.slot():
                accepts = self._is_within_the_quota()
                await asyncio.sleep(self.latency)
                if accepts:
                    self.accepted.append(now())
                    return self.limiter.answered(self.latency)
                self.refused += 1
                self.limiter.slow_down()

    def used(self, begin: float, end: float) -> float:
        """Return the share of the quota that was used between two times."""
        accepted = [at for at in self.accepted if begin <= at < end]
        return len(accepted) / (end - begin) / self.per_second


def test_a_quota_is_used_to_the_full_and_never_exceeded() -> None:
    async def scenario(limiter: Limiter) -> None:
        server, begin = QuotaServer(limiter, 10), now()
        await asyncio.gather(*(server.ask() for _ in range(600)))
        assert server.refused == 0
        assert now() - begin == pytest.approx(59.9 + server.latency)

    run(scenario)


def test_half_of_a_quota_is_found_within_seconds_and_used() -> None:
    async def scenario(limiter: Limiter) -> None:
        server = QuotaServer(limiter, 10)
        asking = asyncio.gather(*(server.ask() for _ in range(600)))
        await asyncio.sleep(10)
        # Somebody else uses the other half from now on.
        server.per_second, halved_at = 5, now()
        await asyncio.sleep(60)
        assert server.used(halved_at + 8, halved_at + 60) >= 0.9
        assert server.refused <= 0.1 * len(server.accepted)
        await asking

    run(scenario)
