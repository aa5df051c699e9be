"""Synthetic vectors: clustered as images are, since on uniform noise any index's recall is low."""

from collections.abc import Iterator, Sequence

import numpy as np

from tasks.core.planning.create_table import create_table
from tasks.core.planning.list_images import COLUMNS
from tasks.core.runs.run import Run
from tasks.core.spaces.registry import Space
from tasks.core.spaces.rows import Row, load_vectors
from tasks.core.types import Image, Vector


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


async def fill_space(
    run: Run, vectors: Iterator[Vector], images: Sequence[Image] | None = None
) -> Space:
    """Make the run's space, and put vectors and their listing into it, as if they were synced.

    Each vector is of a content called as its number; by default one image has it.
    """
    space = await create_table(run)
    rows: list[Row] = [(f"{number:06d}", vector) for number, vector in enumerate(vectors)]
    listed = images or [Image(run.options.bucket, f"{key}.png", 1, key) for key, _ in rows]
    async with run.database.transaction() as connection:
        await load_vectors(connection, space, rows)
        await connection.copy_records_to_table(
            "listings",
            schema_name="birdwalk",
            columns=COLUMNS,
            records=[(run.run_id, *image[1:]) for image in listed],
        )
    run.vectors_written = True
    return space
