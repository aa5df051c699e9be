"""Make a picture ready to be sent: turned upright, and scaled to what the model sees of it."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from tasks.core.errors import UnreadablePicture
from tasks.core.models import EmbeddingModel

SIDE = 512
"""Pixels: multimodalembedding@001 resizes to 512 x 512, so larger pictures buy nothing."""

LONGEST_SIDE = 8 * SIDE
MOST_FILE_BYTES = 200_000_000
MOST_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Pillow's own threshold for its warning: a quarter of a gigabyte of pixels."""

UPRIGHT = 1
ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held (EXIF 2.32, tag 274)."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture back, by the value of that tag."""

# A JPEG with further pictures in it, as some cameras write them, is a JPEG to any reader.
OTHER_NAMES = {"MPO": "JPEG"}

# What Pillow's decoders raise on damaged files.
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_file(path: Path) -> bytes:
    """Return the bytes of a picture's file.

    Raises:
        UnreadablePicture: the file cannot be read, or is far too large for a picture.
    """
    try:
        size = path.stat().st_size
        if size > MOST_FILE_BYTES:
            raise UnreadablePicture(
                f"{path} has {size:,} bytes; at most {MOST_FILE_BYTES:,} are read. Scale it down."
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadablePicture(
            f"{path} cannot be read: {reason}. Give the path of a picture on this machine."
        ) from error


def prepare_picture(data: bytes, name: str, model: EmbeddingModel) -> bytes:
    """Return an encoded picture as it is sent: upright, and with no more pixels than are seen.

    One that is upright and small already is sent as it is, byte for byte, so that a copy of an
    image of the index has that image's vector. Others are scaled until the shorter side is 512
    pixels, so that nothing the model would see is lost however it fits the picture into its
    square, and sent as PNG.

    Args:
        data: the file's bytes.
        name: what to call it in an error.
        model: its formats are accepted; `max_bytes` bounds what is sent.

    Raises:
        UnreadablePicture: it is not a picture, or damaged, or of a format the model does not read.
    """
    with open_picture(data, name, model) as image:
        small = min(image.size) <= SIDE and max(image.size) <= LONGEST_SIDE
        upright = read_orientation(image) == UPRIGHT
        if small and upright and len(data) <= model.max_bytes:
            image.load()
            return data
        return _encode(_scale(image))


@contextmanager
def open_picture(data: bytes, name: str, model: EmbeddingModel) -> Iterator[Image.Image]:
    """Yield an encoded picture, not decoded yet; what decoding raises in the block is translated.

    Raises:
        UnreadablePicture: as `prepare_picture`.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check(image, name, model)
            yield image
    except UnreadablePicture:
        raise
    except TOO_LARGE as error:
        raise UnreadablePicture(f"{name} has too many pixels to decode safely: {error}") from error
    except UnidentifiedImageError as error:
        raise UnreadablePicture(f"{name} is not a picture. {_expected(model)}") from error
    except DECODER_ERRORS as error:
        raise UnreadablePicture(f"{name} is damaged: {error}. {_expected(model)}") from error


def _check(image: Image.Image, name: str, model: EmbeddingModel) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise UnreadablePicture(
            f"{name} has too many pixels to decode safely: {image.width:,} x {image.height:,},"
            f" over {MOST_PIXELS:,}. Scale it down."
        )
    found = OTHER_NAMES.get(image.format or "", image.format or "")
    if Image.MIME.get(found) not in model.formats.values():
        raise UnreadablePicture(
            f"{name} is a {found} picture, which {model.name} does not read. {_expected(model)}"
        )


def _expected(model: EmbeddingModel) -> str:
    return f"Give a {', '.join(sorted(model.formats))} file."


def _scale(image: Image.Image) -> Image.Image:
    share = min(1.0, SIDE / min(image.size), LONGEST_SIDE / max(image.size))
    width, height = (max(1, round(share * side)) for side in image.size)
    # JPEG alone can decode at a half, quarter or eighth of its size, and does so much faster.
    image.draft(None, (2 * width, 2 * height))
    picture = eight_bits(image).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return turn_upright(picture, read_orientation(image))


def read_orientation(image: Image.Image) -> int:
    """Return how the camera was held (a value of the EXIF tag); upright where that is not told.

    Cameras and editors write tags of wrong types, which are no reason not to show the picture.

    Raises:
        OSError, and others that decoders raise: it is a damaged PNG.
    """
    if image.format == "PNG":
        # Its EXIF may stand behind the pixels. Pillow would decode them to find it; what fails of
        # that must not be taken for an EXIF that fails, since a second decoding would not.
        image.load()
    try:
        told = image.getexif().get(ORIENTATION)
    except DECODER_ERRORS:
        return UPRIGHT
    return told if isinstance(told, int) and told in TURNS else UPRIGHT


def turn_upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Return a picture turned back from how the camera was held, and without its EXIF.

    Pillow's own way encodes every other tag anew, and stops at those of a wrong type.
    """
    turned = picture.transpose(TURNS[orientation]) if orientation in TURNS else picture
    for told in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
        turned.info.pop(told, None)
    return turned


def eight_bits(image: Image.Image) -> Image.Image:
    """Return a decoded picture as L, RGB, or RGBA where something in it is transparent."""
    if image.mode.startswith(("I", "F")):
        # Pillow would cut 16 bits off at 255 instead of scaling them.
        return image.convert("F").point(lambda value: value / 257).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
