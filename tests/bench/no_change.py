"""What one more object costs a run that finds nothing changed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from deployments.local.vertex.options import ModelServerOptions
from tasks.core.planning.create_table import create_table
from tasks.core.planning.list_images import list_images
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.options import SyncOptions
from tasks.core.spaces.rows import load_vectors
from tests.bench.figures import Bar, Figure
from tests.bench.listing_stub import served_listing
from tests.bench.session import BUCKET, DIMENSION, MeasurementFailed, Session, Spent
from tests.support.servers.statistics import read_statistics
from tests.support.vectors import clustered

TITLE = "No change: a run over an index that equals its bucket, 128 dimensions"
FEW, MANY = 100_000, 200_000
REPETITIONS = 3
MILLISECONDS = 1000.0
BEST_PEER = 0.54
"""CocoIndex, on a machine like this one: milliseconds an object."""

LISTED = "SELECT content_key FROM birdwalk.listings WHERE run_id = $1"


async def measure(session: Session) -> list[Figure]:
    """Fill an index of each size, and time runs that have nothing to do."""
    await session.set_model(ModelServerOptions(instant=True))
    async with _filled(session, FEW) as over_few, _filled(session, MANY) as over_many:
        # In turns, so that a busy minute of the machine falls on both.
        spent = [(await over_few(), await over_many()) for _ in range(REPETITIONS)]
    if calls := (await read_statistics(session.addresses.vertex_endpoint)).calls:
        raise MeasurementFailed(f"{calls} calls were made where nothing had changed.")
    # The best of each: what others took of the machine is not ours.
    few, many = (min(runs, key=lambda run: run.seconds) for runs in zip(*spent, strict=True))
    if many.seconds <= few.seconds:
        raise MeasurementFailed("More objects took less time: the machine is too busy to measure.")
    few_work, many_work = (
        min(run.processor_seconds for run in runs) for runs in zip(*spent, strict=True)
    )
    return [
        Figure(
            "cost of one more object",
            (many.seconds - few.seconds) / (MANY - FEW) * MILLISECONDS,
            BEST_PEER,
            "CocoIndex",
            "ms",
            Bar("figure", "at most", 0.02),
        ),
        Figure(
            "processor time of one more object",
            (many_work - few_work) / (MANY - FEW) * MILLISECONDS,
            BEST_PEER,
            "CocoIndex",
            "ms",
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


@asynccontextmanager
async def _filled(session: Session, objects: int) -> AsyncIterator[Callable[[], Awaitable[Spent]]]:
    """Yield what runs the flow over an index that equals a listing of so many objects."""
    with served_listing(objects) as endpoint:
        environment = {"BIRDWALK_STORAGE_ENDPOINT": endpoint}
        async with session.fresh_index() as index:
            await _fill(session, index, endpoint)

            async def run() -> Spent:
                return await session.run_flow(index, environment=environment)

            await run()  # builds the approximate index, and publishes
            yield run


async def _fill(session: Session, index: str, endpoint: str) -> None:
    """List the bucket, and put a vector for each content into the index's space."""
    options = SyncOptions(bucket=BUCKET, index=index, dimension=DIMENSION)
    settings = session.settings.model_copy(update={"storage_endpoint": endpoint})
    async with open_run(options, settings, "bench") as run:
        await list_images(run)
        space = await create_table(run)
        async with run.database.transaction() as connection:
            listed = await connection.fetch(LISTED, run.run_id)
            vectors = clustered(len(listed), DIMENSION)
            rows = [
                (row["content_key"], vector) for row, vector in zip(listed, vectors, strict=True)
            ]
            await load_vectors(connection, space, rows)
