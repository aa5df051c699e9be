"""List and read a Cloud Storage bucket.

Google's client is blocking, so each page is fetched in a thread. Only metadata is listed; the
bytes of an image are read when a person is to see it, or when the model could not read it itself.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from requests.exceptions import RequestException

from tasks.core.errors import BucketForbidden, BucketNotFound, ImageGone, StorageError
from tasks.core.models import EmbeddingModel
from tasks.core.settings import Settings
from tasks.core.types import Image


def listed_fields(*names: str) -> str:
    """Return the `fields` of a listing that asks for these of each object.

    Without nextPageToken the client stops after the first page and says nothing
    (googleapis/python-storage issue 977).
    """
    return f"items({','.join(names)}),nextPageToken"


FIELDS = listed_fields(
    "name",
    "size",
    "md5Hash",
    "crc32c",
    "generation",
    "contentType",
    "contentEncoding",
    "updated",
    "metadata",
)
PAGE_SIZE = 1000
TOLD_FORMATS = frozenset(
    f"image/{name}"
    for name in ("webp", "tiff", "heic", "heif", "avif", "svg+xml", "x-icon", "jxl", "jp2")
)
"""Formats named one by one in the count of what was skipped; the rest are one reason."""

FAILURES = (exceptions.GoogleAPIError, GoogleAuthError, RequestException, DataCorruption)
"""What the client raises where a request comes to nothing; translate_error makes it ours."""

GENERIC_CONTENT_TYPES = frozenset({None, "", "application/octet-stream", "binary/octet-stream"})

# Names that uploaders give to formats beside the registered ones.
OTHER_CONTENT_TYPES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
}


class ImageLister:
    """Lists the images of a bucket; counts what it passes over.

    Attributes:
        objects: objects seen so far.
        images: images yielded so far.
        skipped: objects passed over, by reason.
    """

    def __init__(self, client: storage.Client, bucket: str, model: EmbeddingModel) -> None:
        self._client = client
        self._bucket = bucket
        self._model = model
        self.objects = 0
        self.images = 0
        self.skipped: Counter[str] = Counter()

    async def pages(self, prefix: str, limit: int | None) -> AsyncIterator[list[Image]]:
        """Yield the images page by page, in the order of their names' UTF-8 bytes.

        Raises:
            BucketNotFound: there is no such bucket.
            BucketForbidden: the caller may not list it.
            StorageError: anything else that the client's own retries did not mend.
        """
        try:
            listed = self._client.list_blobs(
                self._bucket, prefix=prefix or None, fields=FIELDS, page_size=PAGE_SIZE
            )
        except ValueError as error:
            # The client refuses names that no bucket can have.
            raise translate_error(exceptions.NotFound(str(error)), self._bucket) from error
        async for page in self._fetch(listed.pages):
            images = [image for item in page if (image := self._recognise(item)) is not None]
            if limit is not None:
                images = images[: limit - self.images]
            self.images += len(images)
            yield images
            if limit is not None and self.images >= limit:
                return

    async def _fetch(self, pages: Iterator[Any]) -> AsyncIterator[list[Any]]:
        """Yield the pages; while one is worked on, the next is on its way."""
        coming = asyncio.create_task(asyncio.to_thread(self._next_page, pages))
        try:
            while (page := await coming) is not None:
                coming = asyncio.create_task(asyncio.to_thread(self._next_page, pages))
                yield page
        finally:
            coming.cancel()

    def _next_page(self, pages: Iterator[Any]) -> list[Any] | None:
        try:
            page = next(pages, None)
            # As the API gives them: the client's Blobs cost as much as all else in a listing.
            return None if page is None else page.raw_page.get("items", [])
        except FAILURES as error:
            raise translate_error(error, self._bucket) from error

    def _recognise(self, item: dict[str, Any]) -> Image | None:
        self.objects += 1
        name, content_type = item["name"], item.get("contentType")
        size = int(item["size"]) if "size" in item else None
        reason = why_not_an_image(name, content_type, size, self._model)
        if reason is not None:
            self.skipped[reason] += 1
            return None
        updated, generation = item.get("updated"), int(item["generation"])
        return Image(
            self._bucket,
            name,
            generation,
            content_key(self._bucket, item),
            size,
            content_type,
            item.get("contentEncoding"),
            datetime.fromisoformat(updated) if updated else None,
            item.get("metadata"),
        )


def why_not_an_image(
    name: str, content_type: str | None, size: int | None, model: EmbeddingModel
) -> str | None:
    """Return why the model cannot embed an object, or None when it can, as far as a listing tells.

    A content type that says something decides; a generic one leaves it to the name's extension.
    """
    if content_type in GENERIC_CONTENT_TYPES:
        kind = model.formats.get(PurePosixPath(name).suffix.lower())
    else:
        named = (content_type or "").split(";")[0].strip().lower()
        kind = OTHER_CONTENT_TYPES.get(named, named)
    if kind not in model.formats.values():
        is_picture = (kind or "").startswith("image/")
        told = kind if kind in TOLD_FORMATS else "another"
        return f"a format the model does not read ({told})" if is_picture else "not an image"
    if "\0" in name:
        return "a name that Postgres cannot hold"
    if size == 0:
        return "empty"
    if size is not None and size > model.max_bytes:
        return f"over {model.max_bytes // 1_000_000} MB"
    return None


def content_key(bucket: str, item: dict[str, Any]) -> str:
    """Return what is equal where the bytes of two objects are: md5, crc32c and size together.

    An md5 alone can be forged. Composite objects have none (Cloud Storage documentation, "Hashes
    and ETags"): each of their versions has a key of its own.
    """
    if md5 := item.get("md5Hash"):
        return f"md5:{md5},crc32c:{item.get('crc32c')},{item.get('size')}"
    return f"version:{item['generation']},gs://{bucket}/{item['name']}"


def open_client(settings: Settings) -> storage.Client:
    """Return a storage client for Google, or for the endpoint in the settings.

    Raises:
        StorageError: there are no Google credentials.
    """
    if settings.storage_endpoint is None:
        try:
            return storage.Client(project=settings.project)
        except GoogleAuthError as error:
            raise translate_error(error, "") from error
    return storage.Client(
        project=settings.project or "birdwalk-local",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.storage_endpoint},
    )


async def download(
    client: storage.Client,
    bucket: str,
    name: str,
    *,
    generation: int | None = None,
    threads: Executor | None = None,
) -> bytes:
    """Return an object's bytes.

    Args:
        client: Google's.
        bucket: without gs://.
        name: the object's.
        generation: the version to read; None is the present one.
        threads: where it is waited for; None is the event loop's own.

    Raises:
        ImageGone: the object, or that version of it, is not there any more.
        StorageError: it cannot be read.
    """
    blob = client.bucket(bucket).blob(name, generation=generation)
    loop = asyncio.get_running_loop()
    try:
        return bytes(await loop.run_in_executor(threads, blob.download_as_bytes))
    except exceptions.NotFound as error:
        raise ImageGone(f"gs://{bucket}/{name} is not there any more.") from error
    except FAILURES as error:
        raise translate_error(error, bucket) from error


def translate_error(error: Exception, bucket: str) -> StorageError:
    """Return the StorageError that says what to do about the client's error."""
    match error:
        case exceptions.NotFound():
            return BucketNotFound(
                f"Bucket {bucket!r} does not exist. Check the name and the project; gcloud storage"
                " ls lists the buckets you can see."
            )
        case exceptions.Forbidden() | exceptions.Unauthorized():
            return BucketForbidden(
                f"Bucket {bucket!r} may not be listed or read: {error}. Grant the caller"
                " roles/storage.objectViewer on it."
            )
        case GoogleAuthError():
            return BucketForbidden(
                f"No usable Google credentials: {error} Run gcloud auth application-default login,"
                " or give the worker a service account."
            )
        case _:
            return StorageError(f"Cloud Storage failed for bucket {bucket!r}: {error}")


CONSOLE = "https://console.cloud.google.com/storage/browser/_details"


def object_link(settings: Settings, bucket: str, name: str) -> str:
    """Return the https address of an object's page in Google's console, or of its bytes.

    The bytes come from the storage endpoint of the settings, where there is one: it has no console.
    """
    if settings.storage_endpoint is None:
        return f"{CONSOLE}/{quote(bucket)}/{quote(name)}"
    # Slashes are escaped too: the name's own `..` must not climb out of the bucket.
    path = f"storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
    return f"{settings.storage_endpoint.rstrip('/')}/{path}?alt=media"
