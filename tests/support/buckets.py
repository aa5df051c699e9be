"""Buckets that live for one test, and small pictures to put into them."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from PIL import Image, ImageDraw

SIDE = 64


def storage_client(endpoint: str) -> storage.Client:
    """Return Google's client for a local storage server."""
    return storage.Client(
        project="birdwalk-local",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": endpoint},
    )


def picture(number: int = 0, file_format: str = "PNG") -> bytes:
    """Return an encoded picture of 64 x 64 pixels; each number has its colours and its shape."""
    hue = number * 67 % 360
    image = Image.new("RGB", (SIDE, SIDE), f"hsl({hue}, 80%, 90%)")
    draw = ImageDraw.Draw(image)
    corner, size = 4 + number * 7 % 20, 20 + number * 11 % 20
    box = (corner, corner, corner + size, corner + size)
    match number % 3:
        case 0:
            draw.ellipse(box, fill=f"hsl({(hue + 180) % 360}, 90%, 40%)")
        case 1:
            draw.rectangle(box, fill=f"hsl({(hue + 120) % 360}, 90%, 40%)")
        case _:
            draw.line(box, fill=f"hsl({(hue + 240) % 360}, 90%, 40%)", width=9)
    # No two numbers make the same bytes.
    image.putpixel((0, 0), (number >> 16 & 255, number >> 8 & 255, number & 255))
    encoded = io.BytesIO()
    image.save(encoded, file_format)
    return encoded.getvalue()


@dataclass(frozen=True, slots=True)
class LocalBucket:
    """A bucket on a local storage server.

    Attributes:
        name: without gs://.
        client: Google's, for the server.
    """

    name: str
    client: storage.Client

    def put(self, name: str, data: bytes | None = None, content_type: str = "image/png") -> int:
        """Put or overwrite an object, by default with a picture; return its generation."""
        blob = self.client.bucket(self.name).blob(name)
        content = picture(sum(name.encode())) if data is None else data
        blob.upload_from_string(content, content_type=content_type)
        return int(blob.generation)

    def put_all(self, names: Iterable[str], data: bytes | None = None) -> list[str]:
        """Put an object for each name; return the names, in the order of their bytes."""
        ordered = sorted(names, key=str.encode)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda name: self.put(name, data), ordered))
        return ordered

    def put_pictures(self, count: int, prefix: str = "") -> list[str]:
        """Put different pictures called 0000.png and so on; return their names."""
        names = [f"{prefix}{number:04d}.png" for number in range(count)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(self.put, names, map(picture, range(count))))
        return names

    def delete(self, name: str) -> None:
        """Delete an object."""
        self.client.bucket(self.name).blob(name).delete()

    def generation(self, name: str) -> int:
        """Return an object's present generation."""
        return int(self.client.bucket(self.name).get_blob(name).generation)

    def read_all(self) -> dict[str, bytes]:
        """Return the bytes of all objects, by name."""
        blobs = list(self.client.list_blobs(self.name))
        with ThreadPoolExecutor(4) as threads:
            data = threads.map(lambda blob: bytes(blob.download_as_bytes()), blobs)
            return dict(zip([str(blob.name) for blob in blobs], data, strict=True))

    def rename(self, name: str, new: str) -> None:
        """Give an object another name, as Cloud Storage does: by a copy."""
        source = self.client.bucket(self.name)
        source.copy_blob(source.blob(name), source, new)
        self.delete(name)
