"""A thumbnail shows what the picture shows, and no bucket's object can make it costly."""

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from tasks.core.errors import UnreadablePicture
from tasks.core.pictures import thumbnails
from tasks.core.pictures.thumbnails import make_thumbnail, read_thumbnail


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("size", "made"),
    [
        ((900, 600), (480, 320)),
        ((600, 900), (320, 480)),
        ((64, 40), (64, 40)),
        ((6400, 64), (640, 6)),
    ],
)
def test_it_fills_a_square_unless_it_is_very_long_and_is_never_larger(
    size: tuple[int, int], made: tuple[int, int]
) -> None:
    thumbnail = make_thumbnail(encoded(Image.new("RGB", size, "teal"), "PNG"), "x", 320)
    assert opened(thumbnail.data).size == made
    assert thumbnail.media_type == "image/jpeg"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_photograph_is_turned_upright(kind: str) -> None:
    image = Image.new("RGB", (1200, 800), "white")
    image.paste("black", (0, 0, 1200, 400))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter: the top goes to the right
    thumbnail = opened(make_thumbnail(encoded(image, kind, exif=exif), "x", 320).data)
    assert thumbnail.size == (320, 480)
    assert thumbnail.convert("L").getpixel((300, 240)) == pytest.approx(0, abs=10)
    assert thumbnail.convert("L").getpixel((20, 240)) == pytest.approx(255, abs=10)
    assert thumbnail.getexif().get(0x0112) is None


def test_what_is_transparent_stays_so() -> None:
    image = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), (100, 100, 300, 300))
    thumbnail = make_thumbnail(encoded(image, "PNG"), "x", 320)
    assert thumbnail.media_type == "image/webp"
    alpha = opened(thumbnail.data).convert("RGBA").getchannel("A")
    assert (alpha.getpixel((5, 5)), alpha.getpixel((160, 160))) == (0, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "I;16", "CMYK"])
def test_every_mode_becomes_a_picture(mode: str) -> None:
    file_format = "TIFF" if mode == "CMYK" else "PNG"
    thumbnail = make_thumbnail(encoded(Image.new(mode, (50, 50)), file_format), "x", 320)
    assert opened(thumbnail.data).size == (50, 50)


def test_of_a_moving_picture_it_is_the_first_frame() -> None:
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    first = opened(make_thumbnail(data, "x", 320).data).convert("RGB")
    assert first.getpixel((30, 30)) == pytest.approx((254, 0, 0), abs=10)


def test_too_many_pixels_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MOST_PIXELS", 100 * 100)
    make_thumbnail(encoded(Image.new("L", (100, 100)), "PNG"), "x", 320)
    with pytest.raises(UnreadablePicture, match="x has 10,100 pixels"):
        make_thumbnail(encoded(Image.new("L", (101, 100)), "PNG"), "x", 320)


def test_of_an_object_that_is_too_large_no_more_is_read_than_tells_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(Image.new("L", (100, 100)), "PNG")
    read: list[bytes] = []

    def download_as_bytes(*, end: int | None = None, **_: object) -> bytes:
        read.append(data if end is None else data[: end + 1])
        return read[-1]

    blob = SimpleNamespace(download_as_bytes=download_as_bytes)
    bucket = SimpleNamespace(blob=lambda *_, **__: blob)
    client = cast("Any", SimpleNamespace(bucket=lambda _: bucket))
    monkeypatch.setattr(thumbnails, "MOST_BYTES", len(data))
    assert read_thumbnail(client, "b", "x.png", 1, 320).current
    monkeypatch.setattr(thumbnails, "MOST_BYTES", len(data) - 2)
    with pytest.raises(UnreadablePicture, match=rf"gs://b/x.png has more than {len(data) - 2} byt"):
        read_thumbnail(client, "b", "x.png", 1, 320)
    assert len(read[-1]) == len(data) - 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"P6 1 1 255\n...",  # Pillow could read it, but no more decoders are let at it than needed
    ],
    ids=ascii,
)
def test_what_is_no_picture_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UnreadablePicture, match=r"x is (not a picture|damaged)"):
        make_thumbnail(data, "x", 320)


def test_a_picture_that_ends_early_is_said_to_be_damaged() -> None:
    noise = Image.effect_noise((300, 300), 90).convert("RGB")
    with pytest.raises(UnreadablePicture, match="x is damaged"):
        make_thumbnail(encoded(noise, "PNG")[:20_000], "x", 320)
