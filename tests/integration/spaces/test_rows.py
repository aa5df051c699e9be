"""A space has one vector a content, and the first one stays."""

import numpy as np
import pytest

from tasks.core.errors import DatabaseError
from tasks.core.planning.create_table import create_table
from tasks.core.runs.run import Run
from tasks.core.spaces.rows import Row, load_vectors
from tasks.core.types import Vector
from tests.support.databases import execute, fetch

STORED = "SELECT content_key, embedding::text FROM birdwalk.vectors_1 ORDER BY 1"


def unit(place: int) -> Vector:
    vector = np.zeros(128, np.float32)
    vector[place] = 1
    return vector


def text(vector: Vector) -> str:
    return "[" + ",".join(f"{number:g}" for number in vector) + "]"


async def load(run: Run, *rows: Row) -> None:
    async with run.database.transaction() as connection:
        await load_vectors(connection, run.space, rows)


async def test_contents_that_are_there_keep_their_vector_and_the_others_go_in(
    run: Run, url: str
) -> None:
    await create_table(run)
    await load(run, ("b", unit(0)))
    await load(run, *((key, unit(place)) for place, key in enumerate("abc", 1)))
    await load(run, ("c", unit(9)), ("naïve ✈", unit(8)))
    await load(run)
    expected = {"a": unit(1), "b": unit(0), "c": unit(3), "naïve ✈": unit(8)}
    assert await fetch(url, STORED) == [(key, text(vector)) for key, vector in expected.items()]
    # Each that wrote is counted, so that a measurement knows whether it still holds.
    assert await fetch(url, "SELECT writes FROM birdwalk.spaces") == [(3,)]


async def test_two_contents_of_one_name_in_a_load_are_one(run: Run, url: str) -> None:
    await create_table(run)
    await load(run, ("a", unit(1)), ("a", unit(1)))
    assert await fetch(url, STORED) == [("a", text(unit(1)))]


async def test_a_content_with_a_vector_is_refused_no_longer_in_its_own_space(
    run: Run, url: str
) -> None:
    await create_table(run)
    await execute(
        url,
        "INSERT INTO birdwalk.spaces (index_id, model, dimension, preprocessing)"
        " VALUES (1, 'another', 128, 'none');"
        " INSERT INTO birdwalk.refusals (space_id, content_key, reason)"
        " SELECT space_id, key, 'no' FROM birdwalk.spaces, unnest(ARRAY['a', 'b']) AS key",
    )
    await load(run, ("a", unit(1)), ("c", unit(2)))
    left = "SELECT space_id, content_key FROM birdwalk.refusals ORDER BY 1, 2"
    assert await fetch(url, left) == [(1, "b"), (2, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (2 * unit(0), "unit_length"),
        (np.full(128, np.nan, np.float32), "NaN not allowed"),
        (np.ones(1, np.float32), "expected 128 dimensions, not 1"),
    ],
    ids=["length", "NaN", "dimension"],
)
async def test_a_space_takes_no_vector_that_no_search_could_compare(
    run: Run, url: str, vector: Vector, said: str
) -> None:
    await create_table(run)
    with pytest.raises(DatabaseError, match=said):
        await load(run, ("a", vector))
    assert await fetch(url, STORED) == []
