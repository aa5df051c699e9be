from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from google.api_core import exceptions

from tasks.core.errors import StorageError
from tasks.core.google.versions import find_overwritten
from tasks.core.types import Image


@dataclass
class Listed:
    """A page iterator, as Google's client makes it."""

    pages: Any
    next_page_token: str | None


@dataclass
class Bucket:
    """Lists objects from a name on, a page at most, and counts what it is asked."""

    objects: dict[str, int]
    page: int = 1000
    empty_pages: int = 0
    listings: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)

    def list_blobs(self, _: str, *, start_offset: str, fields: str, page_size: int) -> Listed:
        assert "nextPageToken" in fields
        self.listings.append(start_offset)
        names = sorted(name for name in self.objects if name >= start_offset)
        shown = names[: min(page_size, self.page)]
        items = [{"name": name, "generation": str(self.objects[name])} for name in shown]
        raw: list[dict[str, Any]] = [*({} for _ in range(self.empty_pages)), {"items": items}]
        pages = (SimpleNamespace(raw_page=page) for page in raw)
        return Listed(pages, "more" if len(names) > len(shown) else None)

    def bucket(self, _: str) -> "Bucket":
        return self

    def get_blob(self, name: str) -> Any:
        self.looks.append(name)
        generation = self.objects.get(name)
        return None if generation is None else SimpleNamespace(generation=generation)


def numbered(count: int, step: int = 1) -> list[Image]:
    return [Image("b", f"{number:06d}", 1, "a content") for number in range(0, count * step, step)]


def holding(count: int, **changes: int) -> dict[str, int]:
    return {f"{number:06d}": 1 for number in range(count)} | changes


async def overwritten(bucket: Bucket, images: list[Image]) -> frozenset[str]:
    return await find_overwritten(cast("Any", bucket), images)


@pytest.mark.parametrize("step", [1, 3, 50])
@pytest.mark.parametrize("page", [7, 1000])
@pytest.mark.parametrize("empty_pages", [0, 2])
async def test_just_those_that_changed_or_went_are_found(
    step: int, page: int, empty_pages: int
) -> None:
    images = numbered(200, step)
    bucket = Bucket(holding(200 * step + 5), page=page, empty_pages=empty_pages)
    changed = {images[0].image_id, images[70].image_id, images[199].image_id}
    gone = {images[1].image_id, images[198].image_id}
    bucket.objects |= dict.fromkeys(changed, 2)
    for name in gone:
        del bucket.objects[name]
    assert await overwritten(bucket, images[::-1]) == changed | gone


async def test_a_batch_that_lies_together_takes_one_request() -> None:
    bucket = Bucket(holding(10_000))
    assert await overwritten(bucket, numbered(200)) == frozenset()
    assert (len(bucket.listings), bucket.looks) == (1, [])


async def test_a_larger_batch_takes_one_request_a_thousand() -> None:
    bucket = Bucket(holding(10_000))
    assert await overwritten(bucket, numbered(5_000)) == frozenset()
    assert (len(bucket.listings), bucket.looks) == (5, [])


async def test_images_far_apart_are_looked_at_one_by_one() -> None:
    bucket = Bucket(holding(100_000))
    assert await overwritten(bucket, numbered(200, 500)) == frozenset()
    assert (len(bucket.listings), len(bucket.looks)) == (1, 199)


async def test_behind_the_buckets_end_nothing_is_looked_at() -> None:
    bucket = Bucket(holding(20))
    assert len(await overwritten(bucket, numbered(30))) == 10
    assert (len(bucket.listings), bucket.looks) == (1, [])


@pytest.mark.parametrize(("request_", "count"), [("list_blobs", 2), ("get_blob", 1)])
async def test_a_bucket_that_may_not_be_read_is_said(request_: str, count: int) -> None:
    def forbid(*_: Any, **__: Any) -> None:
        raise exceptions.Forbidden("no permission")

    bucket = Bucket(holding(3))
    setattr(bucket, request_, forbid)
    with pytest.raises(StorageError, match="no permission"):
        await overwritten(bucket, numbered(count))


async def test_an_empty_bucket_holds_none_of_them() -> None:
    assert len(await overwritten(Bucket({}), numbered(3))) == 3


async def test_nothing_to_confirm_takes_no_request() -> None:
    bucket = Bucket(holding(5))
    assert await overwritten(bucket, []) == frozenset()
    assert (bucket.listings, bucket.looks) == ([], [])
