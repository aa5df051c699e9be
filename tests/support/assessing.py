"""Compare an index with its bucket and with the model, number by number."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from tasks.core.csv_parts import read_part
from tasks.core.google.vertex import open_embedder
from tasks.core.settings import Settings
from tasks.core.types import Vector
from tests.support.changing import ChangingBucket
from tests.support.databases import fetch, fetchval

SPACES = "SELECT space_id, index_id FROM birdwalk.spaces WHERE dimension = $1"
VECTORS = "SELECT content_key, embedding::text FROM birdwalk.vectors_{space}"
NAMES = """
SELECT image_id FROM birdwalk.images_{index} JOIN birdwalk.vectors_{space} USING (content_key)
"""
VIEW = "SELECT image_id, generation, embedding::text FROM image_embeddings"
TOLD_APART = 0.01
"""No two contents' vectors are nearer than this, so that equal numbers mean equal content."""


@dataclass(slots=True)
class Model:
    """A model server that nobody kills, and what it answered for each content.

    It is asked by bytes, in the same way as birdwalk asks by address: equal contents have vectors
    that are equal to the last bit.
    """

    settings: Settings
    bucket: ChangingBucket
    dimension: int
    vectors: dict[str, Vector] = field(default_factory=dict)

    async def ask(self) -> None:
        """Ask for every content that the bucket ever had."""
        missing = self.bucket.pictures.keys() - self.vectors.keys()
        async with open_embedder(
            self.settings, "multimodalembedding@001", self.dimension
        ) as embedder:
            for content in missing:
                self.vectors[content] = await embedder.embed_bytes(self.bucket.pictures[content])

    def least_distance(self) -> float:
        """Return how far apart the nearest two contents are."""
        matrix = np.stack(list(self.vectors.values()))
        likeness = matrix @ matrix.T
        np.fill_diagonal(likeness, -1)
        return float(np.sqrt(max(0.0, 2 - 2 * likeness.max())))


@dataclass(slots=True)
class Sight:
    """What is known between two runs.

    Attributes:
        known: contents whose vectors the next run has no need to pay for.
        contents: those of them that are in the space; `names`: images of the index with a vector.
        faults: contents whose vector is another one's.
    """

    known: frozenset[str]
    names: frozenset[str]
    contents: frozenset[str]
    faults: list[str]


async def look(url: str, model: Model, parts: set[str]) -> Sight:
    """See what the index holds beside the leftover parts, while no run is under way."""
    await model.ask()
    known, names, faults = set(), set(), []
    for space, index in await fetch(url, SPACES, model.dimension):
        table = f"birdwalk.vectors_{space}"
        if await fetchval(url, "SELECT to_regclass($1::text) IS NULL", table):
            continue
        for key, text in await fetch(url, VECTORS.format(space=space)):
            content = content_of_key(key)
            known.add(content)
            if not _equal(text, model.vectors[content]):
                faults.append(f"content {content} has the vector of another")
        names |= {name for (name,) in await fetch(url, NAMES.format(space=space, index=index))}
    return Sight(frozenset(known | parts), frozenset(names), frozenset(known), faults)


def content_of_key(key: str) -> str:
    """Return the md5 in a content's key, as Cloud Storage lists it."""
    return key.partition(",")[0].removeprefix("md5:")


def parts_of(began_at: Mapping[Path, float], model: Model) -> set[str]:
    """Return the contents in leftover parts whose version the bucket still has.

    Args:
        began_at: the runs' directories, each with the time when its run began.
        model: parts of another dimension are left aside.
    """
    found = set()
    for part in (part for run in began_at for part in run.glob("parts/part-*.csv")):
        first = part.read_bytes().partition(b"\n")[0]
        if first.count(b",") != model.dimension:
            continue
        for name, vector in read_part(part, model.dimension).items():
            version = model.bucket.current.get(name)
            # Written again since, it is another version though of the same content.
            if version is None or version.put_at > began_at[part.parents[1]]:
                continue
            if np.array_equal(model.vectors.get(version.content, ()), vector):
                found.add(version.content)
    return found


async def compare(url: str, model: Model) -> list[str]:
    """Return how what readers see differs from the bucket: nothing may."""
    await model.ask()
    faults = []
    there = model.bucket.bucket.client.list_blobs(model.bucket.bucket.name)
    expected = {blob.name: (int(blob.generation), blob.md5_hash) for blob in there}
    rows = await fetch(url, VIEW)
    doubled = [name for name, times in Counter(row[0] for row in rows).items() if times > 1]
    faults += [f"doubled: {name}" for name in doubled]
    faults += [f"lost: {name}" for name in expected.keys() - {row[0] for row in rows}]
    for name, generation, text in rows:
        if name not in expected:
            faults.append(f"extra: {name}")
        elif expected[name][0] != generation:
            faults.append(f"outdated: {name}")
        elif not _equal(text, model.vectors[expected[name][1]]):
            faults.append(f"wrong: {name} has not the vector of its content {expected[name][1]}")
    if len(model.vectors) > 1 and model.least_distance() < TOLD_APART:
        faults.append(f"two contents are only {model.least_distance()} apart: they prove nothing")
    return faults


async def compare_csv(url: str, csv: Path, dimension: int) -> list[str]:
    """Return how the CSV of the run that ended last differs from the index."""
    stored = {name: text for name, _, text in await fetch(url, VIEW)}
    rows = read_part(csv, dimension)
    embedded = await fetchval(
        url,
        "SELECT sum(embedded) FROM birdwalk.batches WHERE run_id = $1",
        int(csv.parent.name.partition("-")[0]),
    )
    lines = (await asyncio.to_thread(csv.read_bytes)).count(b"\n")
    faults = [] if lines == len(rows) == embedded else [f"{lines} lines for {embedded} images"]
    return faults + [
        f"the CSV's row of {name} is not the index's"
        for name, vector in rows.items()
        if name not in stored or not _equal(stored[name], vector)
    ]


def _equal(text: str, vector: Vector) -> bool:
    return np.array_equal(np.array(orjson.loads(text), np.float32), vector)
