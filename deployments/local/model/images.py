"""Decode a picture into the pixels that the local model takes."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from deployments.local.model.graph import IMAGE_SIZE
from tasks.core.pictures.scaling import ORIENTATION, TURNS, UPRIGHT

# multimodalembedding@001 reads these four and no other: no WebP, TIFF, HEIC or AVIF.
FORMATS = ("BMP", "GIF", "JPEG", "PNG")
MAXIMUM_BYTES = 20 * 1024 * 1024
# Pillow's own warning threshold: a quarter of a gigabyte of pixels.
MAXIMUM_PIXELS = 1024 * 1024 * 1024 // 4 // 3

SHORTER_SIDE = 256

# What Pillow's four decoders raise on damaged files.
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


class UnreadableImage(Exception):
    """The bytes are no picture the model accepts; the message says why and speaks of the image."""


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Return the picture as uint8[224, 224, 3], RGB.

    Transparent parts lie on white, EXIF orientation is applied, an animation shows its first
    frame. The middle of the picture is taken, as the network was trained: scaled so that the
    shorter side is 256, then cut to 224 by 224.

    Raises:
        UnreadableImage: empty, over 20 MB, in another format, damaged, or with more pixels than
            are safe to decode.
    """
    if not data:
        raise UnreadableImage("The image is empty.")
    check_size(len(data))
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return np.asarray(_prepare(image))
    except UnidentifiedImageError:
        raise UnreadableImage(
            "The image is not in a supported format. Supported image formats: BMP, GIF, JPG, PNG."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(_too_many_pixels()) from None
    except DECODER_ERRORS as error:
        raise UnreadableImage(f"The image could not be decoded: {error}.") from error


def check_size(size: int) -> None:
    """Check that an image has no more bytes than Google reads.

    Raises:
        UnreadableImage: the image is over 20 MB.
    """
    if size > MAXIMUM_BYTES:
        raise UnreadableImage(f"The image is too large: {size} bytes, at most {MAXIMUM_BYTES}.")


def _prepare(image: Image.Image) -> Image.Image:
    if image.width * image.height > MAXIMUM_PIXELS:
        raise UnreadableImage(_too_many_pixels())
    # JPEG alone can decode at a half, quarter or eighth of its size, and does so much faster.
    image.draft("RGB", (SHORTER_SIDE, SHORTER_SIDE))
    image.load()
    orientation = image.getexif().get(ORIENTATION, UPRIGHT)
    square = _on_white(image).resize(
        (IMAGE_SIZE, IMAGE_SIZE),
        Image.Resampling.BILINEAR,
        box=_centre(image.width, image.height),
        reducing_gap=2.0,
    )
    transposition = TURNS.get(orientation)
    return square if transposition is None else square.transpose(transposition)


def _centre(width: int, height: int) -> tuple[float, float, float, float]:
    side = min(width, height) * IMAGE_SIZE / SHORTER_SIDE
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(layers, mask=layers.getchannel("A"))
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")


def _too_many_pixels() -> str:
    return f"The image has too many pixels: at most {MAXIMUM_PIXELS} are decoded."
