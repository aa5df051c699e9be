"""How much of a quota the flow uses, and how often it asks for more than there is."""

from deployments.local.vertex.options import ModelServerOptions
from tests.bench.figures import Bar, Figure
from tests.bench.session import TINY, MeasurementFailed, Session
from tests.support.servers.statistics import ModelServerStatistics, read_statistics

TITLE = "Pace: 200 images at a quota of 600 requests a minute, 150 ms each"
REQUESTS_PER_MINUTE = 600
LATENCY_SECONDS = 0.15
IMAGES = 200
SECONDS_PER_MINUTE = 60


async def measure(session: Session) -> list[Figure]:
    """Let the model server, which holds the quota, say how the flow asked it."""
    await session.set_model(
        ModelServerOptions(
            requests_per_minute=REQUESTS_PER_MINUTE, latency_seconds=LATENCY_SECONDS, instant=True
        )
    )
    async with session.fresh_index() as index:
        await session.run_flow(
            *(index, "--prefix", TINY, "--limit", str(IMAGES)),
            requests_per_minute=REQUESTS_PER_MINUTE,
        )
    statistics = await read_statistics(session.addresses.vertex_endpoint)
    if statistics.accepted != IMAGES:
        raise MeasurementFailed(f"{statistics.accepted} calls were let in; {IMAGES} were expected.")
    over = (statistics.by_code or {}).get("RESOURCE_EXHAUSTED", 0)
    return [
        Figure(
            "calls let in",
            _pace(statistics),
            REQUESTS_PER_MINUTE,
            "the server's quota",
            "a minute",
            Bar("ratio", "at least", 0.95),
        ),
        Figure(
            "calls over the quota (429)",
            over,
            statistics.calls,
            "all calls",
            "calls",
            Bar("ratio", "at most", 0.01),
        ),
        Figure("calls sent", statistics.calls, IMAGES, "images", "calls"),
    ]


def _pace(statistics: ModelServerStatistics) -> float:
    """Return the calls a minute between the first and the last that were let in."""
    first, last = statistics.first_accepted_at, statistics.last_accepted_at
    if first is None or last is None or last <= first:
        raise MeasurementFailed("The model server counted no calls.")
    return (statistics.accepted - 1) / (last - first) * SECONDS_PER_MINUTE
