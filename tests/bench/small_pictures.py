"""What becomes of the local model's speed where pictures are small, and all else weighs most."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from deployments.local.vertex.options import ModelServerOptions
from tests.bench.figures import Bar, Figure
from tests.bench.local_model import time_flow, time_loop, time_pool
from tests.bench.session import SMALL, SMALL_PICTURES, SMALL_SIDE, Session

TITLE = f"Local model: {SMALL_PICTURES:,} pictures of {SMALL_SIDE} px, 128 dimensions"
REPETITIONS = 3
FEW = SMALL_PICTURES // 10
MILLISECONDS = 1000.0
AGAINST = "bare files, a picture and a thread a processor"


@dataclass(slots=True)
class Found:
    """Images a second of the three ways, and processor milliseconds an image, by repetition."""

    loop: list[float] = field(default_factory=list)
    pool: list[float] = field(default_factory=list)
    flow: list[float] = field(default_factory=list)
    pool_work: list[float] = field(default_factory=list)
    flow_work: list[Mapping[str, float]] = field(default_factory=list)


async def measure(session: Session) -> list[Figure]:
    """Embed the same pictures in a plain loop, in a pool of threads, and through the flow.

    Others may keep the processors busy: processor time tells then what images a second cannot.
    """
    await session.set_model(ModelServerOptions())
    found = Found()
    for _ in range(REPETITIONS):
        found.loop.append(await asyncio.to_thread(time_loop, session.small))
        start = time.process_time()
        found.pool.append(await asyncio.to_thread(time_pool, session.small))
        found.pool_work.append((time.process_time() - start) / SMALL_PICTURES * MILLISECONDS)
        # The difference of two runs: what a run costs without images is not an image's.
        _, few = await _run_flow(session, FEW)
        pace, all_of_them = await _run_flow(session, SMALL_PICTURES)
        found.flow.append(pace)
        found.flow_work.append(
            {
                name: (all_of_them[name] - few[name]) / (SMALL_PICTURES - FEW) * MILLISECONDS
                for name in few
            }
        )
    return [
        Figure(
            "flow, one run",
            median(found.flow),
            median(found.pool),
            AGAINST,
            "images/s",
            Bar("ratio", "at least", 0.85),
        ),
        Figure(
            "flow, one run",
            median(found.flow),
            median(found.loop),
            "bare loop over the files, ONNX Runtime on all processors",
            "images/s",
        ),
        *_processor_figures(found),
    ]


def _processor_figures(found: Found) -> list[Figure]:
    yardstick = median(found.pool_work)
    total = median(sum(work.values()) for work in found.flow_work)
    return [
        Figure(
            "images a processor second",
            MILLISECONDS / total,
            MILLISECONDS / yardstick,
            AGAINST,
            "images",
        ),
        Figure("processor time of one more image", total, yardstick, AGAINST, "ms"),
        *(
            Figure(
                f"of it: {name}",
                median(work[name] for work in found.flow_work),
                yardstick,
                AGAINST,
                "ms",
            )
            for name in found.flow_work[0]
        ),
    ]


async def _run_flow(session: Session, images: int) -> tuple[float, dict[str, float]]:
    """Return a run's images a second, and the processor seconds of the processes at work."""
    before = session.processor_seconds()
    pace, spent = await time_flow(session, SMALL, images)
    after = session.processor_seconds()
    servers = {name: after[name] - before[name] for name in after}
    return pace, {"the flow": spent.processor_seconds, **servers}
