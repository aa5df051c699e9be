"""Filtered searches return exactly the right rows, exact and through the HNSW index."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.local.stack import Stack
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.loading.build_index import build_index
from tasks.core.publishing.publish import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import Searcher, open_searcher
from tasks.core.settings import Settings
from tasks.core.spaces.hnsw import ROWS_THAT_PAY, has_hnsw
from tasks.core.spaces.nearest import widen_search
from tasks.core.spaces.registry import Space, require_shown_space
from tasks.core.types import Image, Vector
from tests.support.databases import execute, fresh_database, settings_for
from tests.support.sync import options
from tests.support.vectors import clustered, fill_space

find_similar_sql = statements_of("tasks.core.searching.find_similar")

INDEX = "image_embeddings"
BUCKET = "synthetic"
ROWS, CLUSTERS = ROWS_THAT_PAY + 2_000, 60
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Row n was uploaded n minutes after it."""


@dataclass(frozen=True, slots=True)
class Synthetic:
    """An index of synthetic rows, its vectors by their numbers, and its database."""

    searcher: Searcher
    vectors: NDArray[np.float32]
    url: str

    def truth(self, number: int, prefix: str, after: int, count: int) -> list[str]:
        """Return the true neighbours' names, by numpy."""
        distances = np.linalg.norm(self.vectors - self.vectors[number], axis=1)
        ranked = [int(row) for row in np.argsort(distances, kind="stable") if row != number]
        wanted = [f"{row:06d}.png" for row in ranked if row >= after]
        return [name for name in wanted if name.startswith(prefix)][:count]


def image(number: int, folder: str = "") -> Image:
    """Return the image of a number."""
    name = f"{folder}{number:06d}.png"
    updated = FIRST_DAY + timedelta(minutes=number)
    return Image(BUCKET, name, 1, f"{number:06d}", updated=updated)


@pytest.fixture(scope="module")
async def synthetic(
    stack: Stack, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Synthetic]:
    """An index of 12,000 clustered rows with HNSW, published; number n is of cluster n % 60."""
    async with fresh_database(database_server) as url:
        settings = settings_for(stack, url, tmp_path_factory.mktemp("data"))
        vectors = list(clustered(ROWS, 128, CLUSTERS))
        async with open_run(options(BUCKET), settings, "test") as run:
            await fill_space(run, iter(vectors), [image(number) for number in range(ROWS)])
            await build_index(run)
            await publish(run)
        async with open_searcher(settings) as searcher:
            yield Synthetic(searcher, np.array(vectors), url)


@pytest.mark.parametrize(
    ("prefix", "after"),
    [
        ("", 0),
        ("00", 0),
        ("0100", 0),
        ("01000", 0),
        ("010007", 0),
        ("no such", 0),
        ("", 3_000),
        ("", ROWS - 200),
        ("", ROWS - 4),
        ("01", 11_500),
        ("", ROWS),
    ],
)
@pytest.mark.parametrize("count", [10, 100])
async def test_a_filter_returns_exactly_the_wanted_rows(
    synthetic: Synthetic, prefix: str, after: int, count: int
) -> None:
    hits = wanted = 0
    for number in (7, 5_000, ROWS - 1):
        question = Question(
            image_id=f"{number:06d}.png",
            prefix=prefix,
            uploaded_after=FIRST_DAY + timedelta(minutes=after) if after else None,
            count=count,
        )
        answer = await find_similar(synthetic.searcher, INDEX, question)
        found = [neighbour.image_id for neighbour in answer.neighbours]
        truth = synthetic.truth(number, prefix, after, count)
        assert len(found) == len(set(found)) == len(truth)
        assert all(name.startswith(prefix) and int(name[:6]) >= after for name in found)
        distances = [neighbour.distance for neighbour in answer.neighbours]
        assert distances == sorted(distances)
        hits += len(set(found) & set(truth))
        wanted += len(truth)
    assert hits >= 0.98 * wanted


async def plan(
    connection: Connection, space: Space, vector: Vector, prefix: str = "", minute: int = 0
) -> str:
    since = FIRST_DAY + timedelta(minutes=minute) if minute else None
    rows = await connection.fetch(
        f"EXPLAIN {find_similar_sql('search', **space.tables)}", vector, 10, prefix, 40, since
    )
    return "\n".join(row[0] for row in rows)


async def test_the_planner_takes_the_index_for_a_wide_filter_and_not_for_a_narrow_one(
    synthetic: Synthetic,
) -> None:
    async with synthetic.searcher.database.transaction() as connection:
        space = await require_shown_space(connection, INDEX)
        assert await has_hnsw(connection, space)
        await widen_search(connection, space, 40, filtered=True)
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        vector = synthetic.vectors[0]
        for filters in ({}, {"prefix": "00"}, {"minute": 3_000}):
            wide = await plan(connection, space, vector, **filters)
            assert "vectors_1_hnsw" in wide, filters
            # From a content to its names, one look each; never a scan of all names.
            assert "images_1_content_key" in wide, filters
            assert "Hash Join" not in wide, filters
            # The scan's order is only almost right: all candidates are sorted.
            assert "Presorted Key" not in wide, filters
        for filters in ({"prefix": "01000"}, {"minute": ROWS - 4}):
            narrow = await plan(connection, space, vector, **filters)
            assert "vectors_1_hnsw" not in narrow, filters


async def test_all_that_match_are_found_where_the_index_gives_up_early(
    settings: Settings, database_url: str
) -> None:
    """The 1,000 images nearest to the question are called otherwise than what it looks for."""
    async with open_run(options(BUCKET), settings, "test") as run:
        images = [image(number, "far/" if number % 12 else "near/") for number in range(ROWS)]
        await fill_space(run, clustered(ROWS, 128, 12), images)
        await build_index(run)
        await publish(run)
    await execute(
        database_url,
        "DO $$ BEGIN EXECUTE format("
        "'ALTER DATABASE %I SET hnsw.max_scan_tuples = 1', current_database()); END $$",
    )
    question = Question(image_id="near/000000.png", prefix="far/")
    async with open_searcher(settings) as searcher:
        answer = await find_similar(searcher, INDEX, question)
    assert len(answer.neighbours) == 10
    assert all(found.image_id.startswith("far/") for found in answer.neighbours)
