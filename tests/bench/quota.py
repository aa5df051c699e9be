"""How much of a quota the flow uses minute by minute, and how it finds a smaller one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from deployments.local.vertex.options import ModelServerOptions
from tests.bench.figures import Bar, Figure
from tests.bench.listing_stub import served_listing
from tests.bench.session import MeasurementFailed, Session
from tests.support.servers.statistics import ModelServerStatistics, configure, read_statistics

TITLE = "Quota: 150 ms a call, paced by the flow and counted by the model server"
LATENCY_SECONDS = 0.15
PACES = (600, 6_000)
STEADY_SECONDS = 40.0
SECONDS_TO_SETTLE = 3.0
"""From the first call to the steady part, and from there to the last call."""

SECONDS_BEFORE_HALVING = 10.0
SECONDS_TO_FIND_IT = 30.0
SECONDS_HALVED = 60.0
SECONDS_PER_MINUTE = 60
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Look:
    """What the server had counted at a moment."""

    at: float
    accepted: int
    calls: int
    over: int

    @classmethod
    def of(cls, statistics: ModelServerStatistics) -> "Look":
        """Return the counts that matter, with the present time."""
        over = (statistics.by_code or {}).get("RESOURCE_EXHAUSTED", 0)
        return cls(time.time(), statistics.accepted, statistics.calls, over)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was counted between two looks."""

    first: Look
    last: Look

    @property
    def pace(self) -> float:
        """Calls let in, a minute."""
        seconds = self.last.at - self.first.at
        return (self.last.accepted - self.first.accepted) / seconds * SECONDS_PER_MINUTE

    @property
    def calls(self) -> int:
        """Calls answered, whatever with."""
        return self.last.calls - self.first.calls

    @property
    def over(self) -> int:
        """Calls answered with 429."""
        return self.last.over - self.first.over


async def measure(session: Session) -> list[Figure]:
    """Measure the steady pace at each quota, and the way to half of it."""
    figures: list[Figure] = []
    for pace in PACES:
        figures += await _measure_steady(session, pace)
    for pace in PACES:
        figures += await _measure_halving(session, pace)
    return figures


async def _measure_steady(session: Session, pace: int) -> list[Figure]:
    seconds = STEADY_SECONDS + 2 * SECONDS_TO_SETTLE
    looks = await _watch(session, pace, round(pace * seconds / SECONDS_PER_MINUTE))
    begin, end = looks[0].at, looks[-1].at
    steady = _between(looks, begin + SECONDS_TO_SETTLE, end - SECONDS_TO_SETTLE)
    return [
        _share(f"let in at {pace:,} a minute", steady, pace, 0.97),
        Figure(
            f"over the quota at {pace:,}",
            steady.over,
            steady.calls,
            "all calls",
            "calls",
            Bar("ratio", "at most", 0.01),
        ),
    ]


async def _measure_halving(session: Session, pace: int) -> list[Figure]:
    halved: list[float] = []

    async def halve() -> None:
        await configure(session.addresses.vertex_endpoint, _options(pace / 2))
        halved.append(time.time())

    images = pace * (SECONDS_BEFORE_HALVING + SECONDS_HALVED / 2) / SECONDS_PER_MINUTE
    looks = await _watch(session, pace, round(images), (SECONDS_BEFORE_HALVING, halve))
    if not halved:
        raise MeasurementFailed("The flow ended before the quota was halved.")
    found = _between(looks, halved[0] + SECONDS_TO_FIND_IT, halved[0] + SECONDS_HALVED)
    return [
        _share(f"half a minute after {pace:,} became half", found, pace / 2, 0.9),
        Figure("over the quota then", found.over, found.calls, "all calls", "calls"),
    ]


def _share(name: str, stretch: Stretch, quota: float, least: float) -> Figure:
    bar = Bar("ratio", "at least", least)
    return Figure(name, stretch.pace, quota, "the server's quota", "a minute", bar)


async def _watch(
    session: Session,
    pace: int,
    images: int,
    then: tuple[float, Callable[[], Awaitable[None]]] | None = None,
) -> list[Look]:
    """Run the flow, and look at the server's counters all the while.

    Args:
        session: the stack.
        pace: the quota, the flow's and at first the server's.
        images: how many are embedded.
        then: what to do so many seconds after the first call.

    Returns:
        The looks between the first call and the last.
    """
    await session.set_model(_options(pace))
    looks: list[Look] = []
    with served_listing(images) as endpoint:
        async with session.fresh_index() as index:
            environment = {"BIRDWALK_STORAGE_ENDPOINT": endpoint}
            flow = asyncio.create_task(
                session.run_flow(index, requests_per_minute=pace, environment=environment)
            )
            while not flow.done():
                statistics = await read_statistics(session.addresses.vertex_endpoint)
                if statistics.accepted:
                    looks.append(Look.of(statistics))
                if then is not None and looks and time.time() - looks[0].at >= then[0]:
                    await then[1]()
                    then = None
                await asyncio.sleep(LOOK_SECONDS)
            await flow
    if not looks or looks[-1].accepted != images:
        raise MeasurementFailed(f"{images} calls were expected to be let in: {looks[-1:]}")
    return [look for look in looks if look.accepted < images]


def _between(looks: list[Look], begin: float, end: float) -> Stretch:
    inside = [look for look in looks if begin <= look.at <= end]
    if len(inside) < 2:
        raise MeasurementFailed("The flow ended before its pace was steady.")
    return Stretch(inside[0], inside[-1])


def _options(pace: float) -> ModelServerOptions:
    instant = ModelServerOptions(latency_seconds=LATENCY_SECONDS, instant=True)
    return replace(instant, requests_per_minute=pace)
