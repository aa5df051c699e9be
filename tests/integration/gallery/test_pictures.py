"""The pictures that the gallery takes and shows: how many at once, which, and for how long kept."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image

from deployments.gallery import endpoints, service, thumbnails
from tasks.core.pictures.scaling import prepare_picture
from tasks.core.pictures.thumbnails import read_thumbnail
from tasks.core.searching.searcher import Searcher
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.gallery import read, running_gallery
from tests.support.sync import sync
from tests.support.waiting import until


async def test_few_pictures_are_read_and_prepared_at_once_and_others_are_refused(
    gallery: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "UPLOADS_AT_ONCE", 5)
    preparing, most, released = 0, 0, threading.Event()

    def prepare(*asked: Any) -> bytes:
        nonlocal preparing, most
        preparing += 1
        most = max(most, preparing)
        released.wait(30)
        preparing -= 1
        return prepare_picture(*asked)

    async def both_are_prepared() -> bool:
        return preparing == service.PREPARED_AT_ONCE

    monkeypatch.setattr(service, "prepare_picture", prepare)
    monkeypatch.setattr(service, "find_preparation", lambda _: prepare)
    drops = [gallery.post("/api/pictures", content=picture(number)) for number in range(8)]
    statuses = []
    for drop in asyncio.as_completed(drops):
        answer = await drop
        statuses.append(answer.status_code)
        if len(statuses) == 3:
            assert "Many pictures are arriving just now" in answer.json()["error"]
            # As many as may be; were more let in, a moment would show it.
            await until(both_are_prepared)
            await asyncio.sleep(0.2)
            released.set()
    assert statuses == [503] * 3 + [201] * 5
    assert most == service.PREPARED_AT_ONCE
    assert (await gallery.post("/api/pictures", content=picture(9))).status_code == 201


async def test_a_picture_that_does_not_arrive_lets_others_in(
    gallery: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "UPLOADS_AT_ONCE", 1)
    monkeypatch.setattr(endpoints, "UPLOAD_SECONDS", 0.2)

    async def trickle() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(1)
        yield b"b"

    answer = await gallery.post("/api/pictures", content=trickle())
    assert (answer.status_code, "did not arrive" in answer.json()["error"]) == (400, True)
    assert (await gallery.post("/api/pictures", content=picture(1))).status_code == 201


async def test_a_thumbnail_is_small_and_may_be_kept_for_ever(gallery: httpx.AsyncClient) -> None:
    page = await read(gallery, "/api/images", prefix="planes/", count=1)
    answer = await gallery.get(page["images"][0]["thumbnail"])
    assert Image.open(io.BytesIO(answer.content)).size == (320, 320)
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["content-type"] in {"image/jpeg", "image/webp"}
    large = await gallery.get(page["images"][0]["picture"])
    assert Image.open(io.BytesIO(large.content)).size == (512, 512)


async def test_a_thumbnail_that_many_want_is_made_once(
    gallery: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = read_thumbnail

    def counted(*place: Any) -> Any:
        made.append(place)
        return make(*place)

    monkeypatch.setattr(thumbnails, "read_thumbnail", counted)
    page = await read(gallery, "/api/images", count=2)
    links = [image["thumbnail"] for image in page["images"]] * 10
    answers = await asyncio.gather(*map(gallery.get, links))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.content for answer in answers}) == 2
    assert len(made) == 2


async def test_no_more_is_kept_than_fits(
    samples: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(*place: Any) -> Any:
        made.append(place)
        return read_thumbnail(*place)

    monkeypatch.setattr(thumbnails, "read_thumbnail", counted)
    monkeypatch.setattr(service, "MEGABYTE", 1_000)
    monkeypatch.setattr(service, "DROPPED_BYTES", 50)
    narrow = samples.settings.model_copy(update={"gallery_cache_mb": 4})
    async with running_gallery(narrow) as client:
        [image] = (await read(client, "/api/images", count=1))["images"]
        for _ in range(2):
            assert len((await client.get(image["picture"])).content) > 4_000
        assert len(made) == 2
        name = (await client.post("/api/pictures", content=picture(1))).json()["picture"]
        gone = await client.get("/api/similar", params={"picture": name})
        assert (gone.status_code, "not kept any more" in gone.json()["error"]) == (404, True)


async def test_only_images_of_the_index_are_read_from_the_bucket(
    gallery: httpx.AsyncClient, bucket: LocalBucket
) -> None:
    bucket.put("secret.png", picture(1))
    page = await read(gallery, "/api/images", count=1)
    asked = {
        name: value
        for name, [value] in parse_qs(urlsplit(page["images"][0]["thumbnail"]).query).items()
    }
    assert (await gallery.get("/thumbnail", params=asked)).status_code == 200
    for change, status in (
        ({"uri": f"gs://{bucket.name}/secret.png"}, 404),
        ({"uri": "gs://birdwalk/LICENSE.txt"}, 404),
        ({"uri": "gs://birdwalk/planes/../planes/airplane.png"}, 404),
        ({"uri": "http://127.0.0.1/x.png"}, 400),
        ({"uri": "gs://birdwalk/\0"}, 400),
        ({"index": "none"}, 404),
        ({"generation": "1e3"}, 400),
        ({"generation": "9" * 30}, 200),
        ({"generation": "9" * 5000}, 400),
        ({"size": "huge"}, 400),
    ):
        answer = await gallery.get("/thumbnail", params={**asked, **change})
        assert answer.status_code == status, change
    assert (await gallery.post("/thumbnail", params=asked)).status_code == 405


async def test_a_picture_that_changed_or_cannot_be_read_is_shown_as_it_can_be(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_all(["a.png", "b.png", "c.png"])
    await sync(settings, bucket.name)
    async with running_gallery(settings) as client:
        links = [image["thumbnail"] for image in (await read(client, "/api/images"))["images"]]
        bucket.put("a.png", picture(99))
        bucket.delete("b.png")
        changed, gone, same = [await client.get(link) for link in links]
        assert changed.headers["content-type"] == "image/jpeg"
        assert changed.headers["cache-control"] == "no-store"
        assert gone.headers["content-type"] == "image/svg+xml"
        assert (gone.status_code, gone.headers["cache-control"]) == (200, "no-store")
        assert "immutable" in same.headers["cache-control"]
