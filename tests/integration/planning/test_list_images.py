"""Listing reads metadata only, all of it, and says what it passes over."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.core.database import connections
from tasks.core.errors import NothingToEmbed, StorageError
from tasks.core.google.storage import ImageLister, open_client
from tasks.core.models import MULTIMODAL_EMBEDDING
from tasks.core.planning import list_images as listing
from tasks.core.planning.list_images import list_images
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.answering_storage import (
    Answer,
    Request,
    answering_storage,
    forbidden,
    unavailable,
)
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.sync import options, sync

LISTED = "SELECT image_id FROM birdwalk.listings ORDER BY image_id"


async def test_every_image_of_three_pages_is_listed(
    settings: Settings, url: str, large_storage: str
) -> None:
    settings = settings.model_copy(update={"storage_endpoint": large_storage})
    async with open_run(options("large"), settings, "test") as run:
        found = await list_images(run)
    assert (found.objects, found.images) == (2345, 2300)
    assert found.skipped == {"not an image": 45}
    names = [name for (name,) in await fetch(url, LISTED)]
    assert names == [f"{number:05d}.png" for number in range(2300)]


async def test_pages_are_fetched_as_they_are_read(settings: Settings, large_storage: str) -> None:
    client = open_client(settings.model_copy(update={"storage_endpoint": large_storage}))
    lister = ImageLister(client, "large", MULTIMODAL_EMBEDDING)
    seen = [(lister.objects, len(page)) async for page in lister.pages("", None)]
    client.close()
    # Notes sort among the pictures: a page of 1,000 objects has fewer images.
    assert seen == [(1000, 955), (2000, 1000), (2345, 345)]


async def test_a_limit_ends_the_listing_with_its_page(
    settings: Settings, url: str, large_storage: str
) -> None:
    settings = settings.model_copy(update={"storage_endpoint": large_storage})
    async with open_run(options("large", limit=7), settings, "test") as run:
        found = await list_images(run)
    assert (found.objects, found.images) == (1000, 7)
    assert await fetchval(url, "SELECT max(image_id) FROM birdwalk.listings") == "00006.png"


async def test_only_metadata_is_read_and_the_right_to_list_is_enough() -> None:
    def two_pages(request: Request) -> Answer:
        if not request.path.endswith("/o"):
            return forbidden(request)
        first = "pageToken" not in request.parameters
        names = ["a.png", "b.png"] if first else ["c.png"]
        items = [
            {"name": name, "size": "9", "generation": "5", "contentType": "image/png"}
            for name in names
        ]
        # As Google does, and the local server does not: what is not asked for is not answered.
        told = first and "nextPageToken" in request.parameters["fields"].split(",")
        return 200, {"items": items, **({"nextPageToken": "more"} if told else {})}

    with answering_storage(two_pages) as server:
        client = open_client(Settings(storage_endpoint=server.endpoint))
        lister = ImageLister(client, "photos", MULTIMODAL_EMBEDDING)
        images = [image async for page in lister.pages("2026/", None) for image in page]
        client.close()
    assert [image.image_id for image in images] == ["a.png", "b.png", "c.png"]
    # The client may look at the bucket by itself, where it may; no object is read.
    paths = {request.path for request in server.requests}
    assert paths <= {"/storage/v1/b/photos", "/storage/v1/b/photos/o"}
    pages = [request for request in server.requests if request.path.endswith("/o")]
    assert len(pages) == 2
    for request in pages:
        assert request.parameters["prefix"] == "2026/"
        fields = request.parameters["fields"]
        assert fields.removeprefix("items(").partition(")")[0].split(",") == [
            *("name", "size", "md5Hash", "crc32c", "generation", "contentType"),
            *("contentEncoding", "updated", "metadata"),
        ]


async def test_images_are_known_by_content_type_and_by_extension_without_one(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put("typed-without-extension", picture(1), "image/png")
    bucket.put("upper.JPG", picture(2, "JPEG"), "application/octet-stream")
    bucket.put("typed.png", picture(3), "image/png; charset=binary")
    bucket.put("notes.jpg", b"not a picture", "text/plain")
    bucket.put("no-type-no-extension", picture(4), "application/octet-stream")
    bucket.put("picture.webp", b"RIFF", "image/webp")
    bucket.put("scan.tif", b"II*", "image/tiff")
    bucket.put("nothing.png", b"", "image/png")
    bucket.put("huge.png", bytes(20_000_001), "image/png")
    async with open_run(options(bucket.name), settings, "test") as run:
        found = await list_images(run)
    assert [name for (name,) in await fetch(url, LISTED)] == [
        *("typed-without-extension", "typed.png", "upper.JPG")
    ]
    assert found.skipped == {
        "not an image": 2,
        "a format the model does not read (image/webp)": 1,
        "a format the model does not read (image/tiff)": 1,
        "empty": 1,
        "over 20 MB": 1,
    }
    counts = "SELECT objects, listed, skipped::text FROM birdwalk.runs"
    objects, listed, skipped = (await fetch(url, counts))[0]
    assert (objects, listed) == (9, 3)
    assert '"over 20 MB": 1' in skipped


async def test_a_prefix_leaves_the_rest_of_the_bucket_alone(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_all(["birds/duck.png", "birds/owl.png", "birds.png", "planes/jet.png"])
    async with open_run(options(bucket.name, prefix="birds/"), settings, "test") as run:
        found = await list_images(run)
    assert (found.objects, found.images) == (2, 2)
    assert await fetch(url, LISTED) == [("birds/duck.png",), ("birds/owl.png",)]


async def test_each_image_comes_with_its_version_and_what_is_equal_where_the_bytes_are(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    same = picture(7)
    bucket.put("a.png", same)
    bucket.put("b.png", same)
    bucket.put("c.png", picture(8))
    async with open_run(options(bucket.name), settings, "test") as run:
        await list_images(run)
    rows = await fetch(
        url, "SELECT image_id, generation, content_key FROM birdwalk.listings ORDER BY 1"
    )
    assert [row[1] for row in rows] == [bucket.generation(row[0]) for row in rows]
    assert re.fullmatch(rf"md5:[\w+/]+==,crc32c:[\w+/]+==,{len(same)}", rows[0][2])
    assert rows[0][2] == rows[1][2] != rows[2][2]


HOSTILE = {
    "NUL": ("a\0b", "ab"),
    "escaped NUL": (r"a\u0000b", r"a\u0000b"),
    "backslash before NUL": ("a\\\0b", "a\\b"),
    "lone surrogate": ("a\ud800b", "a?b"),
    "quotes": ('"}\n\t\\', '"}\n\t\\'),
    "emoji": ("🦜 ✈", "🦜 ✈"),
}


async def test_what_a_listing_says_of_an_object_reaches_the_table_whatever_it_is(
    settings: Settings, url: str
) -> None:
    said = {
        "size": "9",
        "generation": "5",
        "contentType": "image/png",
        "contentEncoding": "gzip",
        "updated": "2026-01-02T03:04:05.678Z",
    }
    items: list[dict[str, object]] = [
        {"name": f"{name}.png", "md5Hash": "x", **said, "metadata": {value: value}}
        for name, (value, _) in HOSTILE.items()
    ]
    items += [
        {
            "name": "header.png",
            **said,
            "contentType": "image/png; a=\0\ud800",
            "contentEncoding": "\0",
        },
        {"name": "nothing.png", "generation": "6"},
    ]

    def answer(_request: Request) -> Answer:
        return 200, {"items": items}

    with answering_storage(answer) as server:
        settings = settings.model_copy(update={"storage_endpoint": server.endpoint})
        async with open_run(options("photos"), settings, "test") as run:
            assert (await list_images(run)).images == len(items)
    rows = await fetch(
        url,
        "SELECT image_id, size, content_type, content_encoding, updated, metadata"
        " FROM birdwalk.listings",
    )
    updated = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    found = {name: fields for name, *fields in rows}
    for name, (_, kept) in HOSTILE.items():
        *fields, metadata = found[f"{name}.png"]
        assert fields == [9, "image/png", "gzip", updated]
        assert json.loads(metadata) == {kept: kept}, name
    assert found["header.png"] == [9, "image/png; a=?", "", updated, None]
    assert found["nothing.png"] == [None] * 5


async def test_a_listing_replaces_the_last_one_of_its_index_only(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_all(["a.png", "b.png"])
    for index in ("ours", "other", "ours"):
        async with open_run(options(bucket.name, index=index), settings, "test") as run:
            await list_images(run)
        bucket.put(f"after-{index}.png")
    listed = await fetch(
        url,
        "SELECT index_name, count(*) FROM birdwalk.listings JOIN birdwalk.runs USING (run_id)"
        " GROUP BY index_name ORDER BY index_name",
    )
    assert listed == [("other", 3), ("ours", 4)]


async def test_a_listing_that_takes_long_keeps_no_other_run_of_the_index_waiting(
    settings: Settings, bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    monkeypatch.setitem(connections.WRITER_SETTINGS, "lock_timeout", "100ms")
    begun, other_is_done = asyncio.Event(), asyncio.Event()
    records = listing._records

    async def take_long(run: Run, lister: ImageLister) -> AsyncIterator[tuple[Any, ...]]:
        async for record in records(run, lister):
            yield record
            if run.options.dimension == 256:
                begun.set()
                await other_is_done.wait()

    monkeypatch.setattr(listing, "_records", take_long)
    async with open_run(options(bucket.name, dimension=256), settings, "migration") as slow:
        listed = asyncio.create_task(list_images(slow))
        await begun.wait()
        await sync(settings, bucket.name)
        other_is_done.set()
        assert (await listed).images == 2


async def test_a_listing_that_fails_leaves_the_last_one(
    settings: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_all(["a.png", "b.png"])
    async with open_run(options(bucket.name), settings, "test") as run:
        await list_images(run)
    with pytest.raises(NothingToEmbed):
        async with open_run(options(bucket.name, prefix="none/"), settings, "test") as run:
            await list_images(run)
    assert await fetch(url, LISTED) == [("a.png",), ("b.png",)]
    monkeypatch.setattr("google.cloud.storage.retry.DEFAULT_RETRY._timeout", 0.5)
    with answering_storage(unavailable) as server:
        broken = settings.model_copy(update={"storage_endpoint": server.endpoint})
        with pytest.raises(StorageError, match=f"(?s){bucket.name}.*unavailable"):
            async with open_run(options(bucket.name), broken, "test") as run:
                await list_images(run)
    assert await fetch(url, LISTED) == [("a.png",), ("b.png",)]
