"""How much more memory the flow needs for ten times the images."""

from deployments.local.vertex.options import ModelServerOptions
from tests.bench.figures import Bar, Figure
from tests.bench.listing_stub import served_listing
from tests.bench.session import Session

TITLE = "Memory: peak of the flow's process, instant model, 128 dimensions"
FEW, MANY = 5_000, 50_000


async def measure(session: Session) -> list[Figure]:
    """Run the flow on a small and on a large listing, all of it new."""
    await session.set_model(ModelServerOptions(instant=True))
    few, many = await _peak(session, FEW), await _peak(session, MANY)
    return [
        Figure(
            f"peak at {MANY:,} images",
            many,
            few,
            f"at {FEW:,}",
            "MB",
            Bar("difference", "at most", 40.0),
        )
    ]


async def _peak(session: Session, objects: int) -> float:
    with served_listing(objects) as endpoint:
        async with session.fresh_index() as index:
            environment = {"BIRDWALK_STORAGE_ENDPOINT": endpoint}
            spent = await session.run_flow(index, environment=environment)
    return spent.peak_megabytes
