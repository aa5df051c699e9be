"""What a question costs through the approximate index, and what it misses."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.loading.build_index import build_index
from tasks.core.publishing.publish import publish
from tasks.core.publishing.verify import check_verdict, verify
from tasks.core.runs.lifecycle import open_run
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import Searcher, open_searcher
from tasks.core.spaces.nearest import nearest_exact
from tasks.core.spaces.registry import require_shown_space
from tests.bench.figures import Bar, Figure
from tests.bench.session import MeasurementFailed, Session
from tests.support.sync import options
from tests.support.vectors import clustered, fill_space

TITLE = "Queries: find_similar through the HNSW index, clustered vectors"
TABLES = ((100_000, 128), (20_000, 1408))
BUCKET = "synthetic"
QUESTIONS = 200
EXACT_QUESTIONS = 50
NEIGHBOURS = 10
LEAST_RECALL = 0.98

FILTERED_NEIGHBOURS = 100
PREFIX_DIGITS = 2
"""Of six: the images whose names begin as the question's, 10,000 or as many as there are."""

SAME_DISTANCE = 1e-5
"""What float32 may make of one distance in Postgres and in numpy."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A published index of synthetic images, its vectors by their numbers, and who asks it."""

    searcher: Searcher
    index: str
    vectors: NDArray[np.float32]

    @property
    def numbers(self) -> list[int]:
        """The images that are asked with, drawn once for all tables of a size."""
        drawn = np.random.default_rng(7).choice(len(self.vectors), QUESTIONS, replace=False)
        return [int(number) for number in drawn]


@dataclass(frozen=True, slots=True)
class Asked:
    """What questions took, in milliseconds each, and the share of the true neighbours found."""

    milliseconds: tuple[float, ...]
    recall: float
    fewest_rows: int
    ef_search: int


async def measure(session: Session) -> list[Figure]:
    """Ask each table through its index and exactly, in turns."""
    figures = []
    for rows, dimension in TABLES:
        async with _filled(session, rows, dimension) as filled:
            exact = await _ask_exactly(filled)
            asked = await _ask(filled, NEIGHBOURS)
            behind_prefix = await _ask(filled, FILTERED_NEIGHBOURS, PREFIX_DIGITS)
        figures += _figures(f"{rows:,} x {dimension}", exact, asked, behind_prefix)
    return figures


@asynccontextmanager
async def _filled(session: Session, rows: int, dimension: int) -> AsyncIterator[Filled]:
    """Put vectors in, and let the gate choose ef_search and publish, as at the end of a sync."""
    vectors = np.array(list(clustered(rows, dimension)))
    async with session.fresh_index() as index:
        asked = options(BUCKET, index=index, dimension=dimension)
        async with open_run(asked, session.settings, "bench") as run:
            await fill_space(run, iter(vectors))
            await build_index(run)
            check_verdict(await verify(run))
            await publish(run)
        async with open_searcher(session.settings) as searcher:
            yield Filled(searcher, index, vectors)


async def _ask_exactly(filled: Filled) -> tuple[float, ...]:
    spent = []
    async with filled.searcher.database.connection() as connection:
        space = await require_shown_space(connection, filled.index)
        for number in filled.numbers[:EXACT_QUESTIONS]:
            start = time.perf_counter()
            await nearest_exact(connection, space, filled.vectors[number], NEIGHBOURS + 1)
            spent.append((time.perf_counter() - start) * 1000)
    return tuple(spent)


async def _ask(filled: Filled, count: int, digits: int = 0) -> Asked:
    """Ask with each image, behind a prefix of so many digits of its name."""
    spent, hits, fewest = [], 0, count
    for number in filled.numbers:
        name = _name(number)
        prefix = name[:digits]
        start = time.perf_counter()
        answer = await find_similar(
            filled.searcher, filled.index, Question(image_id=name, count=count, prefix=prefix)
        )
        spent.append((time.perf_counter() - start) * 1000)
        found = [neighbour.distance for neighbour in answer.neighbours]
        if not all(one.image_id.startswith(prefix) for one in answer.neighbours):
            raise MeasurementFailed(f"A search behind {prefix!r} found names without it.")
        farthest = _farthest(filled.vectors, number, prefix, count) + SAME_DISTANCE
        hits += sum(distance <= farthest for distance in found)
        fewest = min(fewest, len(found))
    return Asked(tuple(spent), hits / (count * len(filled.numbers)), fewest, answer.space.ef_search)


def _name(number: int) -> str:
    return f"{number:06d}.png"


def _farthest(vectors: NDArray[np.float32], number: int, prefix: str, count: int) -> float:
    """Return the distance of the last of the true neighbours, by numpy."""
    width = 10 ** (6 - len(prefix))
    start = int(prefix) * width if prefix else 0
    distances = np.linalg.norm(vectors[start : start + width] - vectors[number], axis=1)
    # The image itself is the nearest.
    return float(np.partition(distances, count)[count])


def _figures(
    table: str, exact: Sequence[float], asked: Asked, behind_prefix: Asked
) -> list[Figure]:
    at = f"at ef_search {asked.ef_search}"
    recall = Bar("figure", "at least", LEAST_RECALL)
    return [
        *(
            Figure(
                f"{table}: p{percent}",
                float(np.percentile(asked.milliseconds, percent)),
                float(np.percentile(exact, percent)),
                "exact, the bare query",
                "ms",
            )
            for percent in (50, 95)
        ),
        Figure(f"{table}: recall@{NEIGHBOURS} {at}", asked.recall, 1.0, "exact", "", recall),
        Figure(
            f"{table}: p95 behind a prefix, {FILTERED_NEIGHBOURS} neighbours",
            float(np.percentile(behind_prefix.milliseconds, 95)),
            float(np.percentile(asked.milliseconds, 95)),
            f"without, {NEIGHBOURS} neighbours",
            "ms",
        ),
        Figure(
            f"{table}: fewest rows behind a prefix",
            behind_prefix.fewest_rows,
            FILTERED_NEIGHBOURS,
            "asked for",
            "rows",
            Bar("ratio", "at least", 1.0),
        ),
        Figure(
            f"{table}: recall@{FILTERED_NEIGHBOURS} behind a prefix",
            behind_prefix.recall,
            1.0,
            "exact",
            "",
            recall,
        ),
    ]
