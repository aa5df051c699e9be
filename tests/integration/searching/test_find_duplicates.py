"""Duplicates are found and grouped, exactly and through the HNSW index."""

import numpy as np
import pytest

from tasks.core.errors import InvalidInput, UnknownIndex
from tasks.core.loading.build_index import build_index
from tasks.core.publishing.publish import publish
from tasks.core.reports.duplicates import draw_duplicates
from tasks.core.runs.lifecycle import open_run
from tasks.core.searching import find_duplicates as duplicates
from tasks.core.searching.find_duplicates import find_duplicates
from tasks.core.searching.searcher import open_searcher
from tasks.core.settings import Settings
from tasks.core.types import Image, Vector
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetchval
from tests.support.sync import options, sync
from tests.support.vectors import fill_space, uniform
from tests.support.waiting import until

INDEX = "image_embeddings"
ROWS = 3_500


def near(vector: Vector, distance: float, seed: int) -> Vector:
    """Return a unit vector at about an L2 distance of another."""
    aside = np.random.default_rng(seed).standard_normal(len(vector)).astype(np.float32)
    aside -= (aside @ vector) * vector
    moved = vector + distance * aside / np.linalg.norm(aside)
    moved /= np.linalg.norm(moved)
    return moved.astype(np.float32)


def planted() -> list[Vector]:
    """Return 3,500 vectors far from one another, but for the groups of `GROUPS`."""
    vectors = list(uniform(ROWS, 128))
    vectors[100] = near(vectors[5], 0.05, 1)
    vectors[3_000] = near(vectors[100], 0.09, 2)
    for copy in range(1_000, 1_060):
        vectors[copy] = vectors[7]
    vectors[2_000] = near(vectors[9], 0.2, 3)
    return vectors


GROUPS = [{7, *range(1_000, 1_060)}, {5, 100, 3_000}]


@pytest.mark.parametrize("hnsw", [False, True], ids=["exact", "hnsw"])
async def test_planted_duplicates_come_out_and_nothing_else(
    settings: Settings,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    hnsw: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    monkeypatch.setattr(duplicates, "ROWS_THAT_PAY", ROWS)
    async with open_run(options("synthetic"), settings, "test") as run:
        await fill_space(run, iter(planted()))
        if hnsw:
            statement = "CREATE INDEX x ON birdwalk.vectors_1 USING hnsw (embedding vector_l2_ops)"
            await execute(url, statement)
        await build_index(run)
        await publish(run)
    async with open_searcher(settings) as searcher:
        found = await find_duplicates(searcher, INDEX, 0.1)
        groups = [{int(image.image_id[:6]) for image in group.images} for group in found.groups]
        assert groups == GROUPS
        assert found.groups[0].distance == 0
        assert found.groups[1].distance == pytest.approx(0.09, abs=0.005)
        wider = await find_duplicates(searcher, INDEX, 0.25)
        assert {9, 2_000} in [
            {int(image.image_id[:6]) for image in group.images} for group in wider.groups
        ]
        only = await find_duplicates(searcher, INDEX, 0.1, prefix="0000")
        assert only.groups == ()
    if hnsw:
        # A connection reports what it used when it ends.
        used = (
            "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes WHERE indexrelname = 'x'"
        )

        async def is_used() -> bool:
            return bool(await fetchval(url, used) >= ROWS)

        await until(is_used)


async def test_copies_are_one_group_and_are_searched_for_once(
    settings: Settings, bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "NEAREST", 0)  # however few a search finds
    copies = bucket.put_all([f"copies/{number:02d}.png" for number in range(40)], picture(3))
    bucket.put_all(["copies/other.png", "another.png"], picture(4))
    await sync(settings, bucket.name)
    async with open_searcher(settings) as searcher:
        found = await find_duplicates(searcher, INDEX, 0.0)
        assert [(len(group.images), group.contents) for group in found.groups] == [(40, 1), (2, 1)]
        assert {group.distance for group in found.groups} == {0}
        assert (found.spare, found.copies) == (40, 40)
        png = await draw_duplicates(await searcher.storage_or_none(), found)
        assert png.startswith(b"\x89PNG")
        # One of the two others is not of the prefix.
        [group] = (await find_duplicates(searcher, INDEX, 0.0, prefix="copies/")).groups
        assert [image.image_id for image in group.images] == copies


async def test_near_duplicates_come_with_all_their_copies_and_without_what_has_no_image(
    settings: Settings,
) -> None:
    vectors = list(uniform(100, 128))
    for number in range(1, 31):  # more than a search looks at
        vectors[number] = vectors[0]
    vectors[50] = near(vectors[0], 0.05, 1)
    # No image has 61 any more, which lies between 60 and 62.
    vectors[62] = near(vectors[60], 0.15, 2)
    vectors[61] = (vectors[60] + vectors[62]) / np.linalg.norm(vectors[60] + vectors[62])
    contents = {"one": 0, "two": 0, "near": 50, "left": 60, "right": 62}
    images = [Image("b", f"{name}.png", 1, f"{key:06d}") for name, key in contents.items()]
    async with open_run(options("b"), settings, "test") as run:
        await fill_space(run, iter(vectors), images)
        await publish(run)
    async with open_searcher(settings) as searcher:
        [group] = (await find_duplicates(searcher, INDEX, 0.1)).groups
        assert [image.image_id for image in group.images] == ["near.png", "one.png", "two.png"]
        assert group.contents == 2
        assert group.distance == pytest.approx(0.05, abs=0.005)


async def test_wrong_questions_are_refused(settings: Settings) -> None:
    async with open_searcher(settings) as searcher:
        with pytest.raises(InvalidInput, match=r"distance is 2\.1; expected 0 to 2"):
            await find_duplicates(searcher, INDEX, 2.1)
        with pytest.raises(UnknownIndex):
            await find_duplicates(searcher, INDEX, 0.1)
