"""Synthetic vectors: clustered as images are, since on uniform noise any index's recall is low."""

from collections.abc import Iterator

import numpy as np

from tasks.core.planning.create_table import create_table
from tasks.core.runs.run import Run
from tasks.core.spaces.registry import Space
from tasks.core.spaces.rows import Row, load_rows
from tasks.core.types import Vector


def clustered(count: int, dimension: int, clusters: int = 200, seed: int = 0) -> Iterator[Vector]:
    """Yield unit vectors of shape (dimension,) around random centres."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((clusters, 24))
    projection = random.standard_normal((24, dimension))
    for number in range(count):
        latent = centres[number % clusters] + 0.5 * random.standard_normal(24)
        vector = (latent @ projection).astype(np.float32)
        yield vector / np.linalg.norm(vector)


def uniform(count: int, dimension: int, seed: int = 0) -> Iterator[Vector]:
    """Yield unit vectors of shape (dimension,) in random directions."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        vector = random.standard_normal(dimension).astype(np.float32)
        yield vector / np.linalg.norm(vector)


async def fill_space(run: Run, vectors: Iterator[Vector]) -> Space:
    """Make the run's space, and put vectors and their listing into it, as if they were synced."""
    space = await create_table(run)
    bucket = run.options.bucket
    rows: list[Row] = [
        (bucket, f"{number:06d}.png", vector, 1, None) for number, vector in enumerate(vectors)
    ]
    async with run.database.transaction() as connection:
        await load_rows(connection, space, rows, [])
        await connection.copy_records_to_table(
            "objects",
            schema_name="birdwalk",
            columns=("run_id", "image_id", "generation"),
            records=[(run.run_id, row[1], row[3]) for row in rows],
        )
    return space
