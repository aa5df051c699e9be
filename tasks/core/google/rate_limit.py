"""Pace calls to a quota: even spacing, few in flight, slower when told so.

One limiter serves a whole run, so that batches share the quota instead of each using it up.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

SLOWDOWN = 0.85
"""What is left of the pace after a 429."""

SECONDS_BETWEEN_SLOWDOWNS = 1.0
"""Calls already on their way when the pace dropped must not drop it again."""

RECOVERY_PER_SECOND = 0.005
"""Share of the full pace won back each second without a 429."""

CATCH_UP_SECONDS = 0.05
"""How far behind its schedule a limiter may catch up: covers a busy event loop, not a burst."""

MISSED_SECONDS = 0.5
"""How late a call may take its turn: those of a longer stall must not all be taken at its end."""

MOST_IN_FLIGHT = 256


class Limiter:
    """Spaces calls evenly at a number of requests a minute.

    The number in flight is held to twice pace x latency: enough that the pace is never starved,
    too few to bury a server that slows down.

    Args:
        requests_per_minute: the quota; calls are never paced faster.
        clock: seconds that only grow; for tests.
    """

    def __init__(
        self, requests_per_minute: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._quota = requests_per_minute / 60
        self._full_rate = self._quota
        self._rate = self._full_rate
        self._clock = clock
        self._next_at = clock()
        self._slowed_at = float("-inf")
        self._quiet_until = clock()
        self._recovered_at = clock()
        self._latency = 1.0
        self._in_flight = 0
        self._may_enter = asyncio.Condition()
        self._refused_since: float | None = None

    @property
    def rate(self) -> float:
        """The present pace, in requests a second."""
        return self._rate

    @property
    def seconds_refused(self) -> float:
        """For how long every answer has been a 429."""
        return 0.0 if self._refused_since is None else self._clock() - self._refused_since

    @property
    def in_flight_limit(self) -> int:
        """How many calls may be under way at once."""
        return min(MOST_IN_FLIGHT, round(2 * self._rate * self._latency) + 4)

    def share(self, processes: int) -> None:
        """Leave to other processes of the run their part of the quota: all have the same."""
        before, self._full_rate = self._full_rate, self._quota / processes
        self._rate *= self._full_rate / before

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold a place in flight until the block ends."""
        await self._enter()
        try:
            await self._wait_for_turn()
            yield
        finally:
            self._in_flight -= 1
            async with self._may_enter:
                self._call_in()

    async def _enter(self) -> None:
        async with self._may_enter:
            try:
                while self._in_flight >= self.in_flight_limit:
                    await self._may_enter.wait()
            except asyncio.CancelledError:
                # It may have been called in already: another one takes the place.
                self._call_in()
                raise
            self._in_flight += 1

    def _call_in(self) -> None:
        """Wake as many as there are places: they may have become more by several."""
        self._may_enter.notify(self.in_flight_limit - self._in_flight)

    async def _wait_for_turn(self) -> None:
        start, missed = float("-inf"), False
        # The server may ask for quiet while a call waits.
        while start < self._quiet_until or missed:
            start = self._reserve()
            await asyncio.sleep(start - self._clock())
            # Once: a loop that is always that late must get on all the same.
            missed = not missed and self._clock() - start > MISSED_SECONDS

    def _reserve(self) -> float:
        """Take the next place in the schedule; return when it comes, by the clock."""
        start = max(self._next_at, self._clock() - CATCH_UP_SECONDS)
        self._next_at = start + 1 / self._rate
        return start

    def answered(self, seconds: float) -> None:
        """Learn from a call that was answered: its latency, and that the pace is bearable."""
        now = self._clock()
        self._refused_since = None
        self._latency += 0.1 * (seconds - self._latency)
        elapsed, self._recovered_at = now - self._recovered_at, now
        recovered = self._rate + self._full_rate * RECOVERY_PER_SECOND * elapsed
        self._rate = min(self._full_rate, recovered)

    def slow_down(self, retry_after: float | None = None) -> None:
        """Learn from a 429: a slower pace, and none at all for `retry_after` seconds."""
        now = self._clock()
        self._recovered_at = now
        if self._refused_since is None:
            self._refused_since = now
        if now - self._slowed_at >= SECONDS_BETWEEN_SLOWDOWNS:
            self._slowed_at = now
            self._rate = max(self._rate * SLOWDOWN, self._full_rate / 100)
        self._quiet_until = max(self._quiet_until, now + (retry_after or 0.0))
        self._next_at = max(self._next_at, self._quiet_until)
