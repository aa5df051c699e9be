"""What readers must see: under each name the vector of the object's bytes, and nothing else.

The model is asked for the bytes alone, so that what a sync did with names and versions has no part
in the answer.
"""

from hashlib import md5

import numpy as np

from tasks.core.google.vertex import open_embedder
from tasks.core.settings import Settings
from tasks.core.types import Vector
from tests.support.buckets import LocalBucket
from tests.support.databases import fetch

MODEL = "multimodalembedding@001"
SHOWN = "SELECT content, embedding::real[] FROM image_embeddings ORDER BY content"

_known: dict[tuple[bytes, int], Vector] = {}


async def vector_of(settings: Settings, data: bytes, dimension: int = 128) -> Vector:
    """Return the model's vector of an image's bytes; it is asked once for each."""
    key = (md5(data, usedforsecurity=False).digest(), dimension)
    if key not in _known:
        async with open_embedder(settings, MODEL, dimension) as embedder:
            _known[key] = await embedder.embed_bytes(data)
    return _known[key]


async def shown(url: str) -> dict[str, Vector]:
    """Return the vectors that readers see, by their objects' addresses."""
    rows = await fetch(url, SHOWN)
    found = {content: np.array(numbers, np.float32) for content, numbers in rows}
    assert len(found) == len(rows)
    return found


def contents(*buckets: LocalBucket) -> dict[str, bytes]:
    """Return the bytes of all objects of buckets, by their addresses."""
    return {
        f"gs://{bucket.name}/{name}": data
        for bucket in buckets
        for name, data in bucket.read_all().items()
    }


async def check_shown(
    settings: Settings, url: str, expected: dict[str, bytes], dimension: int = 128
) -> None:
    """Let pass where readers see the vectors of these bytes, under these addresses."""
    found = await shown(url)
    assert sorted(found) == sorted(expected)
    for address, data in expected.items():
        vector = await vector_of(settings, data, dimension)
        assert found[address].shape == (dimension,)
        assert np.allclose(found[address], vector, atol=1e-5), address


async def row_versions(url: str) -> dict[str, list[str]]:
    """Return which rows the tables of images, vectors and refusals have, and who wrote each."""
    tables = await fetch(
        url,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'birdwalk'"
        " AND tablename ~ '^(images|vectors)_|^(refusals|unused_contents|indexes)$'",
    )
    return {
        name: [
            row
            for (row,) in await fetch(
                url,
                f"SELECT ctid::text || ' ' || xmin::text FROM birdwalk.{name} ORDER BY ctid",  # noqa: S608 - ours
            )
        ]
        for (name,) in tables
    }
