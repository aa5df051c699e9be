"""How much of the model's own speed is left when the flow asks it through the local servers."""

import asyncio
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deployments.local.demo import REQUESTS_PER_MINUTE
from deployments.local.model.model import EmbeddingModel, processor_count
from deployments.local.vertex.options import ModelServerOptions
from tests.bench.figures import Bar, Figure
from tests.bench.session import DIMENSION, SAMPLES, MeasurementFailed, Session, Spent

TITLE = "Local model: the samples, 128 dimensions"
REPETITIONS = 2
LAST_RUN = """
SELECT embedded, seconds FROM birdwalk.runs WHERE index_name = $1 ORDER BY run_id DESC LIMIT 1
"""


async def measure(session: Session) -> list[Figure]:
    """Embed the same pictures in a plain loop, in a pool of threads, and through the flow."""
    await session.set_model(ModelServerOptions())
    loop = pool = flow = 0.0
    for _ in range(REPETITIONS):
        loop = max(loop, await asyncio.to_thread(time_loop, session.samples))
        pool = max(pool, await asyncio.to_thread(time_pool, session.samples))
        pace, _ = await time_flow(session, SAMPLES, len(session.samples))
        flow = max(flow, pace)
    return [
        Figure(
            f"flow, {len(session.samples)} pictures",
            flow,
            loop,
            "bare loop over the files, ONNX Runtime on all processors",
            "images/s",
            Bar("ratio", "at least", 0.7),
        ),
        Figure(
            "flow",
            flow,
            pool,
            "bare files, a picture and a thread a processor",
            "images/s",
        ),
    ]


def time_loop(paths: Sequence[Path]) -> float:
    """Return the images a second of the model's own loop, one picture after the other."""
    model = EmbeddingModel(threads=None)
    model.embed_files(paths[:5], DIMENSION)
    start = time.perf_counter()
    model.embed_files(paths, DIMENSION)
    return len(paths) / (time.perf_counter() - start)


def time_pool(paths: Sequence[Path]) -> float:
    """Return the images a second of as many pictures at once as there are processors."""
    model = EmbeddingModel(threads=1)
    with ThreadPoolExecutor(processor_count()) as threads:
        start = time.perf_counter()
        vectors = list(
            threads.map(lambda path: model.embed_image(path.read_bytes(), DIMENSION), paths)
        )
        return len(vectors) / (time.perf_counter() - start)


async def time_flow(session: Session, prefix: str, images: int) -> tuple[float, Spent]:
    """Return the images a second of a run, as it says itself: of its step embed_batches."""
    async with session.fresh_index() as index:
        spent = await session.run_flow(
            *(index, "--prefix", prefix, "--limit", str(images)),
            requests_per_minute=REQUESTS_PER_MINUTE,
        )
        async with session.connection() as connection:
            row = await connection.fetchrow(LAST_RUN, index)
    if row["embedded"] != images:
        raise MeasurementFailed(f"{row['embedded']} of {images} pictures were embedded.")
    return row["embedded"] / json.loads(row["seconds"])["embed_batches"], spent
