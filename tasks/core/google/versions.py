"""See which listed versions are still what their names lead to.

A call names an object, not a version of it. Where the name leads to the listed version after the
call, it did so during the call: listings are strongly consistent, and no generation comes twice.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from google.cloud import storage

from tasks.core.concurrency import for_each
from tasks.core.google.storage import FAILURES, listed_fields, translate_error
from tasks.core.types import Image

FIELDS = listed_fields("name", "generation")

LARGEST_PAGE = 5000
"""Objects to ask for at once; Google gives 1,000 of them."""

IMAGES_WORTH_A_LISTING = 12
"""A request to list costs as much as looking at so many objects one by one (operations of class A
and B), and takes longer."""

LOOKS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Page:
    """Consecutive objects of a bucket, by name; `last` is None where the bucket ends with them."""

    generations: dict[str, int]
    last: str | None


async def find_overwritten(client: storage.Client, images: Sequence[Image]) -> frozenset[str]:
    """Return the names, of images of one bucket, that do not lead to the given versions any more.

    Images that lie close together in the bucket take one request to list them, up to a thousand;
    others one each.

    Raises:
        StorageError: the bucket cannot be listed or read.
    """
    waiting = sorted(images, key=lambda image: image.image_id)  # as their UTF-8 bytes, as listed
    names = [image.image_id for image in waiting]
    found: dict[str, int | None] = {}
    seen = 0
    while len(waiting) - seen > 1:
        page = await asyncio.to_thread(_list_from, client, waiting[seen], len(waiting) - seen)
        found |= page.generations
        reached = len(waiting) if page.last is None else bisect_right(names, page.last)
        seen, gained = reached, reached - seen
        if gained < IMAGES_WORTH_A_LISTING:
            break
    rest = waiting[seen:]
    looked = await for_each(rest, lambda image: read_generation(client, image), LOOKS_AT_ONCE)
    found |= dict(zip(names[seen:], looked, strict=True))
    return frozenset(
        image.image_id for image in images if found.get(image.image_id) != image.generation
    )


async def read_generation(client: storage.Client, image: Image) -> int | None:
    """Return the generation that an image's name leads to now, or None where it leads nowhere.

    Raises:
        StorageError: the object cannot be looked at.
    """
    bucket = client.bucket(image.bucket)
    try:
        blob = await asyncio.to_thread(bucket.get_blob, image.image_id)
    except FAILURES as error:
        raise translate_error(error, image.bucket) from error
    return None if blob is None else int(blob.generation)


def _list_from(client: storage.Client, first: Image, count: int) -> _Page:
    """List objects from an image on: a few more than asked for, as others may lie between."""
    try:
        listed = client.list_blobs(
            first.bucket,
            start_offset=first.image_id,
            fields=FIELDS,
            page_size=min(count + count // 4 + 1, LARGEST_PAGE),
        )
        # A page may be empty and yet not the last.
        pages = (page.raw_page.get("items") for page in listed.pages)
        items: list[dict[str, str]] = next(filter(None, pages), [])
    except FAILURES as error:
        raise translate_error(error, first.bucket) from error
    last = items[-1]["name"] if items and listed.next_page_token else None
    return _Page({item["name"]: int(item["generation"]) for item in items}, last)
