from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tasks.core.pictures.subject import Box, find_subject, frame_subject
from tests.support.drawings import draw_bird, sky

WIDTH, HEIGHT = 256, 192
RANDOM = np.random.default_rng(5)


def found(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the pixels in which a subject was found."""
    box = find_subject(np.asarray(image))
    return None if box is None else box.pixels(*image.size)


@pytest.mark.parametrize("side", [10, 30, 60, 100])
@pytest.mark.parametrize("place", [(0.1, 0.1), (0.6, 0.2), (0.3, 0.7)])
@pytest.mark.parametrize("colour", ["#c08030", "#f4f4f4", "#6890c0"])
def test_a_bird_on_a_sky_is_found_whole_and_closely(
    side: int, place: tuple[float, float], colour: str
) -> None:
    image = sky(WIDTH, HEIGHT)
    left, top = int(place[0] * (WIDTH - side)), int(place[1] * (HEIGHT - side))
    bird = draw_bird(image, left, top, side, colour)
    box = found(image)
    assert box is not None
    # One pixel of an overview is what its contour is blurred by.
    assert all(box[i] <= bird[i] + 1 for i in (0, 1))
    assert all(box[i] >= bird[i] - 1 for i in (2, 3))
    assert all(abs(box[i] - bird[i]) <= 5 for i in range(4))


def test_what_stands_on_the_ground_is_not_what_flies_above_it() -> None:
    image = sky(WIDTH, HEIGHT)
    ImageDraw.Draw(image).polygon(
        [(0, 192), (0, 150), (90, 140), (256, 160), (256, 192)], "#1e3a1e"
    )
    bird = draw_bird(image, 150, 40, 40)
    box = found(image)
    assert box is not None
    assert max(abs(box[i] - bird[i]) for i in range(4)) <= 5


def test_several_birds_are_in_one_box() -> None:
    image = sky(WIDTH, HEIGHT)
    first, second = draw_bird(image, 90, 60, 30), draw_bird(image, 140, 90, 26)
    box = found(image)
    assert box is not None
    assert box[0] <= first[0] + 1
    assert box[1] <= first[1] + 1
    assert box[2] >= second[2] - 1
    assert box[3] >= second[3] - 1


def test_dust_beside_a_bird_is_not_in_its_box() -> None:
    image = sky(WIDTH, HEIGHT)
    bird = draw_bird(image, 60, 60, 60)
    ImageDraw.Draw(image).ellipse((230, 20, 233, 23), fill="#202020")
    box = found(image)
    assert box is not None
    assert box[2] < bird[2] + 10


def noise(_: Image.Image) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def grain(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image) + RANDOM.normal(0, 25, (HEIGHT, WIDTH, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize((128, 96))


def cloud(image: Image.Image) -> Image.Image:
    """A small cloud, whiter than the sky by as much as clouds are."""
    cover = Image.new("L", image.size)
    ImageDraw.Draw(cover).ellipse((100, 60, 150, 85), fill=80)
    image.paste("white", mask=cover.filter(ImageFilter.GaussianBlur(5)))
    return image


def close_up(image: Image.Image) -> Image.Image:
    """A face that the frame cuts on three sides: its eye is no subject by itself."""
    draw = ImageDraw.Draw(image)
    draw.ellipse((-40, 60, 300, 430), fill="#c08030", outline="#141414", width=6)
    draw.ellipse((110, 110, 140, 140), fill="#141414")
    return image


@pytest.mark.parametrize(
    "make",
    [
        lambda _: Image.new("RGB", (WIDTH, HEIGHT), "#87a5c3"),
        lambda image: image,
        noise,
        grain,
        cloud,
        lambda _: Image.new("RGB", (256, 9), "white"),
    ],
    ids=["uniform", "an empty sky", "noise", "a grainy sky", "a cloud", "a strip"],
)
def test_where_nothing_stands_out_nothing_is_found(
    make: Callable[[Image.Image], Image.Image],
) -> None:
    assert found(make(sky(WIDTH, HEIGHT))) is None


def test_the_eye_of_a_face_is_not_taken_for_a_subject() -> None:
    box = found(close_up(sky(WIDTH, HEIGHT)))
    kept = None if box is None else (box[2] - box[0]) * (box[3] - box[1]) / (WIDTH * HEIGHT)
    assert kept is None or kept > 0.7


def test_a_crop_is_square_with_a_margin_and_inside_the_picture() -> None:
    kept = frame_subject(Box(0.5, 0.5, 0.6, 0.55), 1000, 500)
    assert kept is not None
    assert kept.pixels(1000, 500) == pytest.approx((480, 192, 620, 332), abs=1)
    corner = frame_subject(Box(0.0, 0.9, 0.1, 1.0), 1000, 500)
    assert corner is not None
    assert corner.pixels(1000, 500) == pytest.approx((0, 360, 140, 500), abs=1)


def test_a_long_subject_keeps_the_picture_s_whole_height() -> None:
    kept = frame_subject(Box(0.2, 0.4, 0.6, 0.5), 1000, 300)
    assert kept is not None
    assert kept.pixels(1000, 300) == pytest.approx((120, 0, 680, 300), abs=1)


def test_a_speck_is_shown_with_what_surrounds_it() -> None:
    kept = frame_subject(Box(0.5, 0.5, 0.505, 0.505), 4000, 3000)
    assert kept is not None
    left, top, right, bottom = kept.pixels(4000, 3000)
    assert (right - left, bottom - top) == pytest.approx((300, 300), abs=1)


def test_a_subject_that_fills_the_picture_leaves_it_whole() -> None:
    assert frame_subject(Box(0.1, 0.1, 0.9, 0.9), 800, 600) is None
    assert frame_subject(Box(0.02, 0.4, 0.98, 0.5), 800, 600) is None
