import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from deployments.local.model.images import MAXIMUM_BYTES, UnreadableImage, decode_image


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def two_halves(left: str, right: str, size: tuple[int, int] = (400, 400)) -> Image.Image:
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


@pytest.mark.parametrize("image_format", ["BMP", "GIF", "JPEG", "PNG"])
def test_googles_four_formats_are_decoded(image_format: str) -> None:
    pixels = decode_image(encoded(two_halves("black", "white"), image_format))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert pixels[:, :100].max() < 30
    assert pixels[:, 124:].min() > 225


@pytest.mark.parametrize("image_format", ["WEBP", "TIFF", "AVIF", "PPM", "ICO"])
def test_other_formats_are_refused(image_format: str) -> None:
    data = encoded(Image.new("RGB", (64, 64)), image_format)
    with pytest.raises(UnreadableImage, match=r"image is not in a supported format.*GIF, JPG, PNG"):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image is empty"),
        (b"a page of text", "not in a supported format"),
        (encoded(two_halves("red", "blue"), "JPEG")[:900], "could not be decoded"),
        (encoded(two_halves("red", "blue"), "PNG")[:400], "could not be decoded"),
        (b"\x89PNG\r\n\x1a\n" + bytes(MAXIMUM_BYTES), "image is too large"),
    ],
)
def test_bytes_that_are_no_picture_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        decode_image(data)


# The smaller one only makes Pillow warn, unless warnings are errors as they are here.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_unread(side: int) -> None:
    bomb = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    bomb[18:26] = struct.pack("<ii", side, side)
    with pytest.raises(UnreadableImage, match="image has too many pixels"):
        decode_image(bytes(bomb))


def test_transparent_parts_lie_on_white() -> None:
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (128, 0, 256, 256))
    pixels = decode_image(encoded(image, "PNG"))
    assert pixels[112, 20].tolist() == [255, 255, 255]
    assert pixels[112, 200].tolist() == [200, 0, 0]


def test_a_palette_with_a_transparent_colour_lies_on_white() -> None:
    image = Image.new("P", (256, 256), 1)
    image.putpalette([10, 20, 30, 0, 0, 0])
    pixels = decode_image(encoded(image, "PNG", transparency=1))
    assert pixels.min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "CMYK"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    image_format = "JPEG" if mode == "CMYK" else "PNG"
    assert decode_image(encoded(Image.new(mode, (300, 260)), image_format)).shape == (224, 224, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    upright = Image.new("RGB", (400, 400), "white")
    upright.paste("black", (0, 0, 200, 100))
    upright.paste("red", (200, 200, 400, 400))
    stored_as = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright if orientation == 1 else upright.transpose(stored_as[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = decode_image(encoded(stored, "PNG", exif=exif))
    assert np.array_equal(seen, decode_image(encoded(upright, "PNG")))


def test_a_wide_picture_keeps_its_proportions() -> None:
    image = Image.new("RGB", (1024, 256), "white")
    image.paste("black", (512 - 56, 0, 512 + 56, 256))
    dark = decode_image(encoded(image, "PNG"))[112, :, 0] < 128
    assert dark.sum() == 112


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> object:
        decoded.append(image.size)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    decode_image(encoded(two_halves("red", "blue", (4096, 2048)), "JPEG"))
    assert decoded[0] == (512, 256)
