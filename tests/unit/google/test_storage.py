import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud import storage
from requests.exceptions import ChunkedEncodingError, ReadTimeout

from tasks.core.errors import (
    BucketForbidden,
    BucketNotFound,
    ImageGone,
    StorageError,
)
from tasks.core.google.storage import (
    FIELDS,
    ImageLister,
    content_key,
    download,
    translate_error,
    why_not_an_image,
)
from tasks.core.models import MULTIMODAL_EMBEDDING
from tasks.core.types import Image

MASK = re.compile(r"items\((?P<item>[\w,]+)\),(?P<page>[\w,]+)")


class Bucket:
    """Answers the storage client's requests as the JSON API does, `fields` included.

    fake-gcs-server ignores `fields`, so no server here shows what a mask leaves out.
    """

    is_mtls = False

    def __init__(self, objects: list[dict[str, Any]], page_size: int = 2) -> None:
        self.objects = objects
        self.page_size = page_size
        self.requests: list[dict[str, str]] = []
        self.fault: Exception | int | None = None

    def request(self, method: str, url: str, **_: Any) -> requests.Response:
        assert method == "GET"
        if not url.partition("?")[0].endswith("/o"):
            # The client asks for the bucket's own metadata in the background.
            return self._respond(url, {})
        query = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
        self.requests.append(query)
        if isinstance(self.fault, Exception):
            raise self.fault
        start = int(query.get("pageToken", 0))
        end = start + self.page_size
        page: dict[str, Any] = {"kind": "storage#objects", "items": self.objects[start:end]}
        if end < len(self.objects):
            page["nextPageToken"] = str(end)
        return self._respond(url, self._masked(page, query["fields"]))

    def _respond(self, url: str, page: dict[str, Any]) -> requests.Response:
        response = requests.Response()
        response.status_code = self.fault if isinstance(self.fault, int) else 200
        response.url, response.request = url, requests.Request("GET", url).prepare()
        response.headers["Content-Type"] = "application/json"
        response._content = json.dumps(page).encode()
        return response

    def _masked(self, page: dict[str, Any], fields: str) -> dict[str, Any]:
        mask = MASK.fullmatch(fields)
        assert mask is not None
        kept = {name: page[name] for name in mask["page"].split(",") if name in page}
        wanted = set(mask["item"].split(","))
        items = [{k: v for k, v in item.items() if k in wanted} for item in page["items"]]
        return kept | {"items": items}


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": "b",
        "generation": "1700000000000001",
        "contentType": "image/jpeg",
        "size": "1234",
        "md5Hash": "XrY7u+Ae7tCTyyK7j1rNww==",
        "crc32c": "yZRlqg==",
        "updated": "2026-11-23T10:00:00.000Z",
        **changes,
    }


def client(bucket: Bucket) -> storage.Client:
    return storage.Client(project="p", credentials=AnonymousCredentials(), _http=bucket)


async def listed(
    bucket: Bucket, prefix: str = "", limit: int | None = None
) -> tuple[list[Image], ImageLister]:
    lister = ImageLister(client(bucket), "b", MULTIMODAL_EMBEDDING)
    return [image async for page in lister.pages(prefix, limit) for image in page], lister


async def test_every_page_is_listed() -> None:
    bucket = Bucket([entry(f"{number}.jpg") for number in range(7)])
    images, lister = await listed(bucket)
    assert [image.image_id for image in images] == [f"{number}.jpg" for number in range(7)]
    assert (lister.objects, lister.images, len(bucket.requests)) == (7, 7, 4)
    assert "nextPageToken" in FIELDS


async def test_the_listing_brings_every_field_of_an_image() -> None:
    told = entry(
        "Köln ✈, 'old'.jpg", contentEncoding="gzip", metadata={"album": "2026"}, size="1234"
    )
    images, _ = await listed(Bucket([told]))
    (image,) = images
    assert image == Image(
        bucket="b",
        image_id="Köln ✈, 'old'.jpg",
        generation=1700000000000001,
        content_key="md5:XrY7u+Ae7tCTyyK7j1rNww==,crc32c:yZRlqg==,1234",
        size=1234,
        content_type="image/jpeg",
        content_encoding="gzip",
        updated=datetime(2026, 11, 23, 10, tzinfo=UTC),
        metadata={"album": "2026"},
    )
    assert image.uri == "gs://b/Köln ✈, 'old'.jpg"


async def test_what_a_listing_does_not_tell_is_none() -> None:
    bare = {"name": "a.jpg", "generation": "1", "md5Hash": "m", "contentType": "image/png"}
    images, _ = await listed(Bucket([bare]))
    (image,) = images
    assert image[4:] == (None, "image/png", None, None, None)


async def test_only_what_is_needed_is_asked_for() -> None:
    bucket = Bucket([entry("planes/a.jpg")])
    await listed(bucket, prefix="planes/")
    (query,) = bucket.requests
    assert query["prefix"] == "planes/"
    assert query["maxResults"] == "1000"
    assert query["projection"] == "noAcl"


@pytest.mark.parametrize(("limit", "pages"), [(1, 1), (2, 1), (3, 2), (4, 2), (7, 4), (100, 4)])
async def test_a_limit_stops_the_listing(limit: int, pages: int) -> None:
    bucket = Bucket([entry(f"{number}.jpg") for number in range(7)])
    images, lister = await listed(bucket, limit=limit)
    assert [image.image_id for image in images] == [
        f"{number}.jpg" for number in range(min(limit, 7))
    ]
    assert lister.images == len(images)
    assert len(bucket.requests) == pages


async def test_a_limit_counts_images_not_objects() -> None:
    bucket = Bucket([entry(f"{number}.{'jpg' if number % 3 else 'txt'}") for number in range(9)])
    for item in bucket.objects:
        item["contentType"] = ""
    images, lister = await listed(bucket, limit=3)
    assert [image.image_id for image in images] == ["1.jpg", "2.jpg", "4.jpg"]
    assert lister.skipped == {"not an image": 2}


async def test_what_is_passed_over_is_counted_by_reason() -> None:
    bucket = Bucket(
        [
            entry("a.jpg"),
            entry("readme.txt", contentType="text/plain"),
            entry("empty.jpg", size="0"),
            entry("huge.jpg", size="20000001"),
            entry("b.webp", contentType="image/webp"),
            entry("c.webp", contentType="image/webp"),
        ]
    )
    images, lister = await listed(bucket)
    assert [image.image_id for image in images] == ["a.jpg"]
    assert lister.objects == 6
    assert lister.skipped == {
        "not an image": 1,
        "empty": 1,
        "over 20 MB": 1,
        "a format the model does not read (image/webp)": 2,
    }


async def test_an_empty_bucket_lists_nothing() -> None:
    images, lister = await listed(Bucket([]))
    assert images == []
    assert (lister.objects, lister.images) == (0, 0)


WEBP = "a format the model does not read (image/webp)"


@pytest.mark.parametrize(
    ("name", "content_type", "size", "expected"),
    [
        ("a.jpg", "image/jpeg", 1, None),
        ("a.jpg", "image/jpeg", None, None),
        ("a.jpg", "image/jpeg", 20_000_000, None),
        ("a.jpg", "image/jpeg", 20_000_001, "over 20 MB"),
        ("a.jpg", "image/jpeg", 0, "empty"),
        ("a\0.jpg", "image/jpeg", 1, "a name that Postgres cannot hold"),
        ("no extension", "image/png", 1, None),
        ("a.txt", "image/gif", 1, None),
        ("a.jpg", "IMAGE/JPEG", 1, None),
        ("a.jpg", "image/jpeg; charset=binary", 1, None),
        ("a.jpg", " image/bmp ;x=y", 1, None),
        ("a.jpg", "image/jpg", 1, None),
        ("a.jpg", "image/pjpeg", 1, None),
        ("a.png", "image/x-png", 1, None),
        ("a.bmp", "image/x-ms-bmp", 1, None),
        ("a.jpg", "text/plain", 1, "not an image"),
        ("a.jpg", "video/mp4", 1, "not an image"),
        ("a.jpg", "image/webp", 1, WEBP),
        ("a.webp", "image/webp", 1, WEBP),
        ("a.tif", "image/tiff", 1, "a format the model does not read (image/tiff)"),
        ("a.jpg", None, 1, None),
        ("a.JPEG", "", 1, None),
        ("a.Png", "application/octet-stream", 1, None),
        ("a.gif", "binary/octet-stream", 1, None),
        ("a.bmp", None, 1, None),
        ("a.txt", None, 1, "not an image"),
        ("jpg", None, 1, "not an image"),
        (".jpg", None, 1, "not an image"),
        ("a.jpg.txt", None, 1, "not an image"),
        ("a.txt/b", None, 1, "not an image"),
        ("folder.jpg/", "application/octet-stream", 0, "empty"),
        ("=cmd().jpg", "", 1, None),
        ("../../etc/a.jpg", "", 1, None),
    ],
)
def test_what_is_an_image(
    name: str, content_type: str | None, size: int | None, expected: str | None
) -> None:
    assert why_not_an_image(name, content_type, size, MULTIMODAL_EMBEDDING) == expected


def key(bucket: str = "b", **changes: object) -> str:
    return content_key(bucket, entry(**{"name": "a.jpg", **changes}))  # type: ignore[arg-type]  # an entry's fields


def test_equal_bytes_have_one_key_whatever_they_are_called() -> None:
    again = key("another", name="b.jpg", generation="9", updated="2027-01-01T00:00:00Z")
    assert key() == again


@pytest.mark.parametrize("changes", [{"md5Hash": "forged"}, {"crc32c": "x"}, {"size": "9"}])
def test_bytes_that_differ_in_one_of_the_three_have_another_key(changes: dict[str, str]) -> None:
    assert key(**changes) != key()


def test_each_version_of_a_composite_object_has_a_key_of_its_own() -> None:
    composite = {"md5Hash": ""}
    others = [
        key(**composite, generation="9"),
        key(**composite, name="b.jpg"),
        key("another", **composite),
        key(),
    ]
    assert len({key(**composite), *others}) == 5
    assert key(**composite) == key(**composite, crc32c="x", size="9")


@pytest.mark.parametrize(
    ("error", "expected", "remedy"),
    [
        (exceptions.NotFound("x"), BucketNotFound, "Check the name and the project"),
        (exceptions.Forbidden("x"), BucketForbidden, "roles/storage.objectViewer"),
        (exceptions.Unauthorized("x"), BucketForbidden, "roles/storage.objectViewer"),
        (RefreshError("x"), BucketForbidden, "gcloud auth application-default login"),
        (DefaultCredentialsError("x"), BucketForbidden, "gcloud auth application-default login"),
        (exceptions.ServiceUnavailable("the text"), StorageError, "'b'.*the text"),
        (exceptions.BadRequest("the text"), StorageError, "'b'.*the text"),
    ],
)
def test_each_storage_error_says_what_to_do(
    error: Exception, expected: type[StorageError], remedy: str
) -> None:
    translated = translate_error(error, "b")
    assert type(translated) is expected
    assert re.search(remedy, str(translated))


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, BucketNotFound), (403, BucketForbidden), (401, BucketForbidden), (400, StorageError)],
)
async def test_a_listing_refused_is_translated(status: int, expected: type[StorageError]) -> None:
    bucket = Bucket([])
    bucket.fault = status
    with pytest.raises(StorageError) as caught:
        await listed(bucket)
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    "fault",
    [
        exceptions.RetryError("Timeout of 120.0s exceeded", cause=OSError("refused")),
        ReadTimeout("read timed out"),
        ChunkedEncodingError("the connection broke"),
        requests.exceptions.ConnectionError("refused"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_what_the_clients_own_retries_did_not_mend_is_a_storage_error(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Injected where the client's retries have ended, since they take two minutes.
    def fail(*_: Any, **__: Any) -> Any:
        raise fault

    monkeypatch.setattr("google.api_core.page_iterator.HTTPIterator._next_page", fail)
    monkeypatch.setattr(storage.Blob, "download_as_bytes", fail)
    with pytest.raises(StorageError, match="'b'"):
        await listed(Bucket([]))
    with pytest.raises(StorageError, match="'b'"):
        await download(client(Bucket([])), "b", "a.jpg")


@pytest.mark.parametrize("bucket", ["-planes", "planes_", ".", "../b"])
async def test_a_name_that_no_bucket_can_have_is_refused(bucket: str) -> None:
    lister = ImageLister(client(Bucket([])), bucket, MULTIMODAL_EMBEDDING)
    with pytest.raises(BucketNotFound, match=re.escape(repr(bucket))):
        async for _ in lister.pages("", None):
            pass


async def test_an_object_that_vanished_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise exceptions.NotFound("No such object")

    monkeypatch.setattr(storage.Blob, "download_as_bytes", fail)
    with pytest.raises(ImageGone, match=r"gs://b/a\.jpg"):
        await download(client(Bucket([])), "b", "a.jpg")


def test_odd_formats_are_one_reason_so_that_no_bucket_makes_endless_reasons() -> None:
    reasons = {
        why_not_an_image("a", f"image/x-{number}|b", 9, MULTIMODAL_EMBEDDING) for number in range(9)
    }
    assert reasons == {"a format the model does not read (another)"}
