"""Make a small picture of a large one, and read from a bucket what that takes.

Everything here blocks: call it in a thread. A bucket holds whatever somebody put into it, so that
bytes and pixels are bounded before anything is decoded.
"""

import io
import threading
from contextlib import nullcontext
from dataclasses import dataclass

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from PIL import Image, UnidentifiedImageError

from tasks.core.errors import ImageGone, UnreadablePicture
from tasks.core.google.storage import FAILURES, translate_error
from tasks.core.pictures.scaling import (
    DECODER_ERRORS,
    TOO_LARGE,
    eight_bits,
    read_orientation,
    turn_upright,
)

MOST_BYTES = 30_000_000
"""Of an object; those of an index have at most 20 MB."""

MOST_PIXELS = 100_000_000
ROOMY_PIXELS = 12_000_000
"""Larger ones are decoded one at a time, each takes four bytes a pixel."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP", "TIFF")
"""Pillow's decoders that are let at an object's bytes."""

DAMAGE = (*DECODER_ERRORS, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError)
"""What comes out of Pillow on bytes that nobody foresaw: a picture to look at stops nothing."""

JPEG_QUALITY = 82
WEBP_QUALITY = 80
TIMEOUT_SECONDS = (3.0, 10.0)
"""To connect, and between bytes."""

RETRY: Retry = DEFAULT_RETRY.with_timeout(3.0)
"""Somebody is looking: better no picture than one in two minutes."""

_roomy = threading.Lock()


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An encoded picture, and its kind as HTTP names it.

    `current` is false where the object changed since the version that was asked for was there.
    """

    data: bytes
    media_type: str
    current: bool = True


def read_thumbnail(
    client: storage.Client, bucket: str, name: str, generation: int, side: int
) -> Thumbnail:
    """Return the thumbnail of a version of an object, or of its present one where that is gone.

    Raises:
        ImageGone: there is no such object any more.
        StorageError: it cannot be read.
        UnreadablePicture: it is not a picture, or too large.
    """
    try:
        data, current = read_bounded(client, bucket, name, generation), True
    except ImageGone:
        data, current = read_bounded(client, bucket, name), False
    return make_thumbnail(data, f"gs://{bucket}/{name}", side, current=current)


def read_bounded(
    client: storage.Client, bucket: str, name: str, generation: int | None = None
) -> bytes:
    """Return the bytes of a version of an object, or of the present one where none is named.

    Raises:
        ImageGone: there is no such object, or version of it, any more.
        StorageError: it cannot be read.
        UnreadablePicture: it is too large to be decoded; no more is read than tells so.
    """
    address = f"gs://{bucket}/{name}"
    blob = client.bucket(bucket).blob(name, generation=generation)
    try:
        # The last byte of a range is part of it: one more than is taken tells that there is more.
        data = blob.download_as_bytes(end=MOST_BYTES, timeout=TIMEOUT_SECONDS, retry=RETRY)
    except exceptions.NotFound as error:
        raise ImageGone(f"{address} is not there any more.") from error
    except FAILURES as error:
        raise translate_error(error, bucket) from error
    if len(data) > MOST_BYTES:
        raise UnreadablePicture(f"{address} has more than {MOST_BYTES:,} bytes; it is not decoded.")
    return bytes(data)


def make_thumbnail(data: bytes, name: str, side: int, *, current: bool = True) -> Thumbnail:
    """Return a picture upright, its shorter side at most `side` pixels and the longer twice that.

    Of a picture that moves it is the first frame. JPEG where nothing is transparent, else WebP.

    Raises:
        UnreadablePicture: it is not a picture, damaged, or has too many pixels.
    """
    picture = shrink(data, name, side, 2 * side)
    buffer = io.BytesIO()
    if picture.mode == "RGBA":
        picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=2)
        return Thumbnail(buffer.getvalue(), "image/webp", current)
    picture.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return Thumbnail(buffer.getvalue(), "image/jpeg", current)


def shrink(data: bytes, name: str, shorter: int, longer: int) -> Image.Image:
    """Return a picture upright, as L, RGB or RGBA, its sides at most so many pixels.

    Raises:
        UnreadablePicture: it is not a picture, damaged, or has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                raise UnreadablePicture(f"{name} has {pixels:,} pixels; it is not decoded.")
            with _roomy if pixels > ROOMY_PIXELS else nullcontext():
                return _shrink(image, shorter, longer)
    except TOO_LARGE as error:
        raise UnreadablePicture(f"{name} has too many pixels to decode safely: {error}") from error
    except UnidentifiedImageError as error:
        raise UnreadablePicture(f"{name} is not a picture.") from error
    except DAMAGE as error:
        raise UnreadablePicture(f"{name} is damaged: {error}.") from error


def _shrink(image: Image.Image, shorter: int, longer: int) -> Image.Image:
    width, height = _fit(image.size, shorter, longer)
    # JPEG alone can decode at a half, quarter or eighth of its size, and does so much faster.
    image.draft(None, (2 * width, 2 * height))
    picture = eight_bits(image)
    # Now: Pillow has turned a TIFF by itself, its sides with it.
    orientation, size = read_orientation(image), _fit(picture.size, shorter, longer)
    # Less than half the time of Lanczos, and at this size no less sharp to the eye.
    picture = picture.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)
    return turn_upright(picture, orientation)


def _fit(size: tuple[int, int], shorter: int, longer: int) -> tuple[int, int]:
    share = min(1.0, shorter / min(size), longer / max(size))
    return max(1, round(share * size[0])), max(1, round(share * size[1]))
