import io
import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tasks.core.errors import UnreadablePicture
from tasks.core.models import MULTIMODAL_EMBEDDING
from tasks.core.pictures.scaling import ORIENTATION, prepare_picture, read_file
from tasks.core.pictures.thumbnails import make_thumbnail

RANDOM = random.Random(3)  # noqa: S311 - damages pictures, keeps no secret


def arrow(size: tuple[int, int]) -> Image.Image:
    """Return a picture of which each corner differs: red at the top left."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size[0] // 3, size[1] // 3), fill="red")
    draw.rectangle((size[0] * 2 // 3, 0, size[0], size[1] // 3), fill="blue")
    return image


def encoded(image: Image.Image, kind: str = "PNG", orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def prepared(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(prepare_picture(data, "x", MULTIMODAL_EMBEDDING)))
    image.load()
    return image


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG"])
def test_a_small_upright_picture_is_sent_byte_for_byte(kind: str) -> None:
    buffer = io.BytesIO()
    arrow((512, 700)).save(buffer, kind)
    data = buffer.getvalue()
    assert prepare_picture(data, "x", MULTIMODAL_EMBEDDING) == data


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ((1024, 1024), (512, 512)),
        ((3000, 2000), (768, 512)),
        ((600, 4000), (512, 3413)),
        ((20_000, 600), (4096, 123)),
        ((30_000, 40), (4096, 5)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_picture_is_scaled_to_what_the_model_sees(
    size: tuple[int, int], sent: tuple[int, int], kind: str
) -> None:
    image = prepared(encoded(arrow(size), kind))
    assert (image.format, image.size) == ("PNG", sent)


@pytest.mark.parametrize("size", [(400, 300), (1600, 1200)])
@pytest.mark.parametrize(
    ("orientation", "red"), [(3, (0.9, 0.9)), (6, (0.9, 0.1)), (8, (0.1, 0.9))]
)
def test_a_camera_that_was_turned_is_turned_back(
    size: tuple[int, int], orientation: int, red: tuple[float, float]
) -> None:
    image = prepared(encoded(arrow(size), "PNG", orientation)).convert("RGB")
    assert (image.width > image.height) == (orientation == 3)
    place = (int(image.width * red[0]), int(image.height * red[1]))
    assert image.getpixel(place) == (255, 0, 0)
    assert ORIENTATION not in image.getexif()


def test_transparency_and_16_bits_survive_scaling() -> None:
    clear = Image.new("RGBA", (1000, 1000), (255, 0, 0, 0))
    assert prepared(encoded(clear)).convert("RGBA").getpixel((9, 9))[3] == 0  # type: ignore[index]  # four bands
    grey = Image.new("I;16", (1000, 1000), 128 * 257)
    assert prepared(encoded(grey)).convert("RGB").getpixel((9, 9)) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_a_format_that_the_model_does_not_read_is_refused(kind: str) -> None:
    with pytest.raises(UnreadablePicture, match=rf"x is a {kind} picture.*Give a \.bmp, \.gif"):
        prepare_picture(encoded(arrow((9, 9)), kind), "x", MULTIMODAL_EMBEDDING)


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n"], ids=repr)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture, match=r"^x is (not a picture|damaged)"):
        prepare_picture(data, "x", MULTIMODAL_EMBEDDING)


def test_a_truncated_picture_is_said_to_be_damaged() -> None:
    with pytest.raises(UnreadablePicture, match=r"^x is damaged"):
        prepare_picture(encoded(arrow((400, 300)), "JPEG")[:1500], "x", MULTIMODAL_EMBEDDING)


@pytest.mark.parametrize("side", [300, 900])
def test_a_png_whose_pixels_are_damaged_is_no_picture(side: int) -> None:
    # Without EXIF, so that Pillow seeks it behind the pixels.
    buffer = io.BytesIO()
    arrow((side, side)).save(buffer, "PNG")
    damaged = bytearray(buffer.getvalue())
    place = damaged.index(b"IDAT") + 20
    damaged[place] ^= 0xFF
    for read in (
        lambda data: prepare_picture(data, "x", MULTIMODAL_EMBEDDING),
        lambda data: make_thumbnail(data, "x", 320),
    ):
        with pytest.raises(UnreadablePicture, match=r"^x is damaged"):
            read(bytes(damaged))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG"])
def test_no_damage_comes_out_as_another_error(kind: str) -> None:
    buffer = io.BytesIO()
    arrow((700, 600)).save(buffer, kind)
    for _ in range(60):
        damaged = bytearray(buffer.getvalue())
        for _ in range(RANDOM.choice((1, 3, 20))):
            damaged[RANDOM.randrange(min(len(damaged), 500))] = RANDOM.randrange(256)
        try:
            prepare_picture(bytes(damaged), "x", MULTIMODAL_EMBEDDING)
        except UnreadablePicture as error:
            assert str(error).startswith("x ")  # noqa: PT017 - whole pictures are as good


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    bomb = encoded(Image.new("1", (20_000, 20_000)))
    with pytest.raises(UnreadablePicture, match="too many pixels"):
        prepare_picture(bomb, "x", MULTIMODAL_EMBEDDING)


def test_a_file_is_read_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a plane.png"
    path.write_bytes(encoded(arrow((9, 9))))
    assert read_file(path) == path.read_bytes()
    for missing in (tmp_path / "none.png", tmp_path, Path("a\0b")):
        with pytest.raises(UnreadablePicture, match="cannot be read") as caught:
            read_file(missing)
        assert str(missing) in str(caught.value)
