import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tasks.core.errors import UnreadablePicture
from tasks.core.models import MULTIMODAL_EMBEDDING
from tasks.core.pictures import cropping
from tasks.core.pictures.cropping import crop_to_subject
from tasks.core.pictures.scaling import ORIENTATION, prepare_picture
from tests.support.drawings import draw_bird, encode, sky


def scene(width: int = 480, height: int = 360, side: int = 56) -> Image.Image:
    image = sky(width, height)
    draw_bird(image, width * 5 // 8, height // 6, side)
    return image


def cropped(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(crop_to_subject(data, "x", MULTIMODAL_EMBEDDING)))
    image.load()
    return image


def share_of_bird(image: Image.Image) -> float:
    """Return how much of a picture is as brown as the bird."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return float(np.mean(pixels[..., 0] > pixels[..., 2] + 60))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG"])
def test_the_bird_is_cut_out_of_the_sky(kind: str) -> None:
    image = cropped(encode(scene(), kind))
    assert image.format == "JPEG"
    assert 70 <= image.width == image.height <= 90
    assert share_of_bird(image) > 20 * share_of_bird(scene())


def test_a_photograph_of_many_pixels_is_cut_out_of_its_own_pixels() -> None:
    image = cropped(encode(scene(1600, 1200, 520), "JPEG"))
    assert image.size == (512, 512)
    small = cropped(encode(scene(1600, 1200, 120), "JPEG"))
    assert 150 <= small.width == small.height <= 200


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, 270), (8, 90)])
def test_a_camera_that_was_turned_is_turned_back(orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = cropped(encode(scene(), "PNG", exif=exif))
    expected = cropped(encode(scene(), "PNG")).rotate(turn)
    assert ORIENTATION not in image.getexif()
    difference = np.abs(np.asarray(image, float) - np.asarray(expected, float))
    assert difference.mean() < 5


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1"])
def test_each_kind_of_pixels_is_cropped(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    image = scene()
    if mode == "1":
        # Black and white: a grey sky would be dots all over.
        image = Image.new("RGB", image.size, "white")
        ImageDraw.Draw(image).ellipse((300, 60, 340, 100), fill="black")
    assert max(cropped(encode(image.convert(mode), kind)).size) < 100


def test_sixteen_bits_are_cropped_as_bright_as_they_are() -> None:
    grey = np.asarray(scene().convert("L")).astype(np.uint16) * 257
    image = cropped(encode(Image.fromarray(grey)))
    assert image.width < 100
    assert np.asarray(image.convert("L")).mean() > 100


def test_transparency_is_kept() -> None:
    clear = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    draw_bird(clear, 250, 60, 60)
    image = cropped(encode(clear))
    assert (image.format, image.mode) == ("PNG", "RGBA")
    assert image.width < 100
    assert image.getpixel((1, 1))[3] == 0  # type: ignore[index]  # four bands


def test_an_animation_is_cropped_in_its_first_frame() -> None:
    frames = [scene().convert("P"), Image.new("P", (480, 360))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert share_of_bird(cropped(buffer.getvalue())) > 0.1


@pytest.mark.parametrize("size", [(400, 300), (800, 600)])
def test_a_picture_in_which_nothing_stands_out_is_sent_whole(size: tuple[int, int]) -> None:
    for image in (sky(*size), Image.new("RGB", size, "red")):
        data = encode(image)
        whole = prepare_picture(data, "x", MULTIMODAL_EMBEDDING)
        assert crop_to_subject(data, "x", MULTIMODAL_EMBEDDING) == whole


def test_a_subject_that_fills_the_picture_is_sent_whole() -> None:
    image = sky(400, 300)
    draw_bird(image, 60, 12, 300)
    data = encode(image)
    assert crop_to_subject(data, "x", MULTIMODAL_EMBEDDING) == data


def test_two_subjects_far_apart_are_sent_whole() -> None:
    image = sky(400, 300)
    draw_bird(image, 12, 12, 60)
    draw_bird(image, 320, 220, 60)
    data = encode(image)
    assert crop_to_subject(data, "x", MULTIMODAL_EMBEDDING) == data


def test_equal_bytes_give_equal_bytes_in_any_thread() -> None:
    data = encode(scene(), "JPEG")
    with ThreadPoolExecutor(4) as threads:
        made = set(
            threads.map(lambda _: crop_to_subject(data, "x", MULTIMODAL_EMBEDDING), range(8))
        )
    assert len(made) == 1


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = encode(Image.new("1", (10_000, 9_000)))
    with pytest.raises(UnreadablePicture, match="too many pixels"):
        crop_to_subject(bomb, "x", MULTIMODAL_EMBEDDING)
    # Our own bound: Pillow's is a warning only up to twice as many.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UnreadablePicture, match=r"too many pixels.*10,000 x 9,000"):
        crop_to_subject(bomb, "x", MULTIMODAL_EMBEDDING)


@pytest.mark.parametrize("data", [b"", b"text", encode(scene(), "JPEG")[:2000]], ids=len)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture, match=r"^x is (not a picture|damaged)"):
        crop_to_subject(data, "x", MULTIMODAL_EMBEDDING)


def test_large_pictures_are_decoded_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cropping, "LARGE", 1)
    held = []
    monkeypatch.setattr(
        cropping, "find_subject", lambda _: held.append(cropping._one_large.locked())
    )
    crop_to_subject(encode(scene()), "x", MULTIMODAL_EMBEDDING)
    assert held == [True]
    assert not cropping._one_large.locked()
