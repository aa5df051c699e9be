"""What the flow costs beyond a bare script that does the same with the same clients."""

import uuid

from deployments.local.vertex.options import ModelServerOptions
from tasks.core.database.statements import Identifier, statements_of
from tests.bench.figures import Bar, Figure
from tests.bench.session import BUCKET, TINY, TINY_PICTURES, MeasurementFailed, Session, Spent

registry_sql = statements_of("tasks.core.spaces.registry")
drop_sql = statements_of("tasks.core.maintenance.drop_space")

TITLE = "Overhead: 5,000 pictures, instant model, 128 dimensions"
SIZES = (TINY_PICTURES // 2, TINY_PICTURES)
REPETITIONS = 3
MILLISECONDS = 1000.0


async def measure(session: Session) -> list[Figure]:
    """Time both programs at two sizes; tell the cost of an image from that of a run."""
    await session.set_model(ModelServerOptions(instant=True))
    flow: dict[int, list[Spent]] = {size: [] for size in SIZES}
    bare: dict[int, list[Spent]] = {size: [] for size in SIZES}
    for _ in range(REPETITIONS):
        # In turns, so that a busy minute of the machine falls on both.
        for size in SIZES:
            flow[size].append(await _run_flow(session, size))
            bare[size].append(await _run_bare(session, size))
    flow_image, flow_run = _split(_seconds(flow))
    bare_image, bare_run = _split(_seconds(bare))
    flow_work, _ = _split(_processor_seconds(flow))
    bare_work, _ = _split(_processor_seconds(bare))
    return [
        Figure(
            "cost of one more image",
            flow_image * MILLISECONDS,
            bare_image * MILLISECONDS,
            "bare script",
            "ms",
            Bar("difference", "at most", 0.5),
        ),
        Figure(
            "cost of one more image, in all",
            flow_image * MILLISECONDS,
            bare_image * MILLISECONDS,
            "bare script",
            "ms",
            Bar("figure", "at most", 1.3),
        ),
        Figure(
            "cost of a run without images",
            flow_run,
            bare_run,
            "bare script",
            "s",
            Bar("difference", "at most", 5.0),
        ),
        Figure(
            "processor time of one more image",
            flow_work * MILLISECONDS,
            bare_work * MILLISECONDS,
            "bare script",
            "ms",
        ),
        *(
            Figure(
                f"run of {size:,}",
                _seconds(flow)[size],
                _seconds(bare)[size],
                "bare script",
                "s",
            )
            for size in SIZES
        ),
    ]


def _seconds(runs: dict[int, list[Spent]]) -> dict[int, float]:
    """Return the seconds of the best run of each size: what others took of it is not ours."""
    return {size: min(spent.seconds for spent in runs[size]) for size in SIZES}


def _processor_seconds(runs: dict[int, list[Spent]]) -> dict[int, float]:
    return {size: min(spent.processor_seconds for spent in runs[size]) for size in SIZES}


def _split(seconds: dict[int, float]) -> tuple[float, float]:
    """Return the seconds of one more image, and of a run without any."""
    small, large = SIZES
    an_image = (seconds[large] - seconds[small]) / (large - small)
    return an_image, seconds[small] - small * an_image


async def _run_flow(session: Session, size: int) -> Spent:
    async with session.fresh_index() as index:
        spent = await session.run_flow(index, "--prefix", TINY, "--limit", str(size))
        await _check_rows(session, Identifier(index, "public"), size)
    return spent


async def _run_bare(session: Session, size: int) -> Spent:
    table = Identifier(f"bare_{uuid.uuid4().hex[:12]}", "birdwalk")
    spent = await session.run("tests.bench.bare", BUCKET, TINY, str(size), table.name)
    await _check_rows(session, table, size)
    async with session.connection() as connection:
        await connection.execute(drop_sql("drop_table", table=table))
    return spent


async def _check_rows(session: Session, table: Identifier, expected: int) -> None:
    async with session.connection() as connection:
        rows = await connection.fetchval(registry_sql("count_rows", vectors=table))
    if rows != expected:
        raise MeasurementFailed(f"{table} holds {rows} rows; {expected} were expected.")
