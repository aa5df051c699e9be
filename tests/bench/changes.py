"""What planning and publishing take where one image in a hundred of a million has changed."""

import resource
import time

from tasks.core.planning.create_table import create_table
from tasks.core.planning.plan_sync import plan_sync
from tasks.core.publishing.publish import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import Run
from tasks.core.types import Listing
from tests.bench.figures import Bar, Figure
from tests.bench.session import DIMENSION, MeasurementFailed, Session

TITLE = "Changes: a million images listed, one in a hundred with other content"
FEW, MANY = 100_000, 1_000_000
CHANGED = 100
"""One image in so many has another content than before."""

VECTORS = """
INSERT INTO {vectors} (content_key, embedding)
SELECT 'content ' || number, l2_normalize(
    (
        SELECT array_agg(sin(number * dimension) + random())
        FROM generate_series(1, {dimension}) AS dimension
    )::vector
)
FROM generate_series({first}, {last}) AS number
"""

LISTING = """
INSERT INTO birdwalk.listings (
    run_id, image_id, generation, content_key, size, content_type, updated
)
SELECT
    $1,
    'folder ' || number % 1000 || '/' || number || '.png',
    CASE WHEN $3 AND number % {changed} = 0 THEN 2 ELSE 1 END,
    'content ' || CASE WHEN $3 AND number % {changed} = 0 THEN $2 + number ELSE number END,
    1000,
    'image/png',
    '2026-11-01'
FROM generate_series(1, $2) AS number
"""


async def measure(session: Session) -> list[Figure]:
    """Plan and publish the changes of few images, and of many."""
    few_seconds, _ = await _sync(session, FEW)
    seconds, megabytes = await _sync(session, MANY)
    return [
        Figure(
            f"plan and publish at {MANY:,}",
            seconds,
            few_seconds,
            f"at {FEW:,}",
            "s",
            Bar("figure", "at most", 10.0),
        ),
        Figure(
            f"memory that this took at {MANY:,}",
            megabytes,
            0.0,
            "nothing",
            "MB",
            Bar("figure", "at most", 20.0),
        ),
    ]


async def _sync(session: Session, images: int) -> tuple[float, float]:
    async with session.fresh_index() as index:
        options = SyncOptions(
            bucket="listed",
            index=index,
            dimension=DIMENSION,
            requests_per_minute=600_000,
            max_price=1e6,
        )
        async with open_run(options, session.settings, "bench") as run:
            await _list(run, images, changed=False)
            await create_table(run)
            await _embed(run, 1, images)
            await plan_sync(run)
            await publish(run)
        async with open_run(options, session.settings, "bench") as run:
            await _list(run, images, changed=True)
            await create_table(run)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = time.monotonic()
            plan = await plan_sync(run)
            planned = time.monotonic()
            if plan.images("changed") != images // CHANGED:
                raise MeasurementFailed(f"{plan.images('changed'):,} are changed: {plan.changes}")
            await _embed(run, images + 1, 2 * images)
            embedded = time.monotonic()
            shown = await publish(run)
            end = time.monotonic()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if shown.changed != images // CHANGED or shown.images != images:
        raise MeasurementFailed(f"{shown} was published.")
    print(f"{images:,}: plan {planned - start:.2f} s, publish {end - embedded:.2f} s", flush=True)
    return planned - start + end - embedded, (peak - before) / 1024


async def _list(run: Run, images: int, *, changed: bool) -> None:
    async with run.database.transaction() as connection:
        await connection.execute(
            "DELETE FROM birdwalk.listings WHERE run_id IN"
            " (SELECT run_id FROM birdwalk.runs WHERE index_name = $1)",
            run.options.index,
        )
        statement = LISTING.format(changed=CHANGED)
        await connection.execute(statement, run.run_id, images, changed, timeout=None)
        await connection.execute(
            "UPDATE birdwalk.runs SET listed_at = now(), listed = $2 WHERE run_id = $1",
            run.run_id,
            images,
        )
    async with run.database.connection() as connection:
        await connection.execute("VACUUM (ANALYZE) birdwalk.listings")
    run.listing = Listing(images, images)


async def _embed(run: Run, first: int, last: int) -> None:
    """Write the vectors that the model would have returned."""
    async with run.database.connection() as connection:
        step = 1 if first == 1 else CHANGED
        numbers = f"generate_series({first + step - 1}, {last}, {step})"
        statement = VECTORS.format(
            vectors=run.space.vectors, dimension=DIMENSION, first=first, last=last
        ).replace(f"generate_series({first}, {last})", numbers)
        await connection.execute(statement, timeout=None)
        await connection.execute(f"VACUUM (ANALYZE) {run.space.vectors} (content_key)")
