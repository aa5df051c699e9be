"""Whether a million new images take what ten times a hundred thousand take."""

from dataclasses import dataclass

from deployments.local.vertex.options import ModelServerOptions
from tests.bench.figures import Bar, Figure
from tests.bench.listing_stub import served_listing
from tests.bench.session import MeasurementFailed, Session

TITLE = "Million: all images new, instant model, 128 dimensions"
FEW, MANY = 100_000, 1_000_000
MAX_PRICE = "1000"
BUILD_MEMORY_MB = "2048"
"""What a run over so many rows asks for: with less, the index is built many times as slowly."""

RUN = """
SELECT embedded, (seconds ->> 'embed_batches')::float AS embedding, seconds
FROM birdwalk.runs WHERE index_name = $1
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a run that embedded everything took."""

    images_per_second: float
    peak_megabytes: float
    seconds: float


async def measure(session: Session) -> list[Figure]:
    """Fill an index with few images, and one with many."""
    await session.set_model(ModelServerOptions(instant=True))
    few, many = await _fill(session, FEW), await _fill(session, MANY)
    return [
        Figure(
            f"images embedded at {MANY:,}",
            many.images_per_second,
            few.images_per_second,
            f"at {FEW:,}",
            "a second",
            Bar("ratio", "at least", 0.85),
        ),
        Figure(
            f"peak memory at {MANY:,}",
            many.peak_megabytes,
            few.peak_megabytes,
            f"at {FEW:,}",
            "MB",
            Bar("figure", "at most", 450.0),
        ),
        Figure(f"the whole run at {MANY:,}", many.seconds, few.seconds, f"at {FEW:,}", "s"),
    ]


async def _fill(session: Session, objects: int) -> Filled:
    with served_listing(objects) as endpoint:
        async with session.fresh_index() as index:
            spent = await session.run_flow(
                *(index, "--max-price", MAX_PRICE),
                environment={
                    "BIRDWALK_STORAGE_ENDPOINT": endpoint,
                    "BIRDWALK_INDEX_BUILD_MEMORY_MB": BUILD_MEMORY_MB,
                },
            )
            async with session.connection() as connection:
                row = await connection.fetchrow(RUN, index)
    if row["embedded"] != objects:
        raise MeasurementFailed(f"{row['embedded']:,} of {objects:,} images were embedded.")
    print(f"{objects:,} images: {spent.seconds:,.0f} s; by step: {row['seconds']}", flush=True)
    pace = row["embedded"] / row["embedding"]
    return Filled(pace, spent.peak_megabytes, spent.seconds)
