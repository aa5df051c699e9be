"""What one more object costs a run that finds nothing changed."""

from pgvector.asyncpg import register_vector

from deployments.local.vertex_options import ModelServerOptions
from deployments.local.vertex_statistics import read_statistics
from tasks.core.loading import COLUMNS
from tests.bench.figures import Bar, Figure
from tests.bench.listing_stub import served_listing
from tests.bench.session import BUCKET, DIMENSION, MeasurementFailed, Session, Spent
from tests.support.vectors import clustered

TITLE = "No change: a run over an index that equals its bucket, 128 dimensions"
FEW, MANY = 100_000, 200_000
REPETITIONS = 2
MILLISECONDS = 1000.0
BEST_PEER = 0.54
"""CocoIndex, on a machine like this one: milliseconds an object."""

LISTED = """
SELECT image_id, generation, content_hash
FROM birdwalk.objects JOIN birdwalk.runs USING (run_id)
WHERE index_name = $1
"""
SPACE = "SELECT space_id FROM birdwalk.spaces WHERE index_name = $1"


async def measure(session: Session) -> list[Figure]:
    """Fill an index of each size, and time runs that have nothing to do."""
    await session.set_model(ModelServerOptions(instant=True))
    few, many = await _measure_size(session, FEW), await _measure_size(session, MANY)
    one_more = (many.seconds - few.seconds) / (MANY - FEW) * MILLISECONDS
    return [
        Figure(
            "cost of one more object",
            one_more,
            BEST_PEER,
            "CocoIndex",
            "ms",
            Bar("figure", "at most", 0.03),
        ),
        Figure(
            f"peak memory at {MANY:,}",
            many.peak_megabytes,
            few.peak_megabytes,
            f"at {FEW:,}",
            "MB",
            Bar("difference", "at most", 30.0),
        ),
        Figure(f"run over {MANY:,}", many.seconds, few.seconds, f"over {FEW:,}", "s"),
    ]


async def _measure_size(session: Session, objects: int) -> Spent:
    """Return the best of several runs: what others took of the machine is not ours."""
    with served_listing(objects) as endpoint:
        environment = {"BIRDWALK_STORAGE_ENDPOINT": endpoint}
        async with session.fresh_index() as index:
            await session.run_flow(index, "--plan-only", environment=environment)
            await _fill(session, index)
            # Builds the approximate index.
            await session.run_flow(index, environment=environment)
            spent = [
                await session.run_flow(index, environment=environment) for _ in range(REPETITIONS)
            ]
    if calls := (await read_statistics(session.addresses.vertex_endpoint)).calls:
        raise MeasurementFailed(f"{calls} calls were made where nothing had changed.")
    return min(spent, key=lambda one: one.seconds)


async def _fill(session: Session, index: str) -> None:
    """Put a vector for each listed object into the index's space."""
    async with session.connection() as connection:
        await register_vector(connection)
        listed = await connection.fetch(LISTED, index)
        space = await connection.fetchval(SPACE, index)
        vectors = clustered(len(listed), DIMENSION)
        await connection.copy_records_to_table(
            f"space_{space}",
            schema_name="birdwalk",
            columns=COLUMNS,
            records=[
                (BUCKET, row["image_id"], vector, row["generation"], row["content_hash"])
                for row, vector in zip(listed, vectors, strict=True)
            ],
        )
