"""Time that passes at once, for scenarios of a limiter."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from tasks.core.google.rate_limit import Limiter

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


def stall(seconds: float) -> None:
    """Let time pass in which nothing runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.virtual.now += seconds
