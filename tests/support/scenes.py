"""Photographs as a birdwatcher brings them home: something small, somewhere in a large sky.

Six skies, and on each of them the same planes and birds, small and anywhere: whoever looks at the
whole picture sees the sky. Everything is drawn from fixed seeds, so the bytes are always the same.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deployments.local.storage.samples import render_drawing

WIDTH, HEIGHT = 800, 600
SHARES = (0.08, 0.16)
"""Side of a subject's drawing, as a share of the picture's height: smallest and largest."""

PLANES = ("AIRPLANE", "SMALL AIRPLANE", "AIRPLANE DEPARTURE", "AIRPLANE ARRIVING")
BIRDS = ("BIRD", "DUCK", "EAGLE", "FLAMINGO", "OWL", "PARROT", "SWAN", "DOVE OF PEACE")
POSES = 2
"""Times that each plane stands on each sky, so that there are as many planes as birds."""

SKIES = ("clear", "clouds", "dusk", "overcast", "sea", "trees")
SENSOR_NOISE = 2.0
"""Standard deviation of what a camera adds to each of a picture's 0 to 255."""

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of a subject on a sky.

    Attributes:
        kind: "planes" or "birds".
        name: the object name, as in "planes/airplane-clouds-1.jpg".
        subject: the drawing, as in "airplane".
        sky: the background it shares with others.
        data: the file, a JPEG.
        box: left, top, right and bottom of the subject in pixels, right and bottom outside.
    """

    kind: str
    name: str
    subject: str
    sky: str
    data: bytes
    box: tuple[int, int, int, int]


def draw_scenes() -> list[Scene]:
    """Return all scenes, ordered by name."""
    with ThreadPoolExecutor(2) as threads:
        drawn = threads.map(lambda arguments: _draw_scene(*arguments), _all_subjects())
        return sorted(drawn, key=lambda scene: scene.name)


def _all_subjects() -> Iterator[tuple[int, str, str, str, int]]:
    number = 0
    for sky in SKIES:
        for kind, names, poses in (("planes", PLANES, POSES), ("birds", BIRDS, 1)):
            for name in names:
                for pose in range(poses):
                    yield number, kind, name, sky, pose
                    number += 1


def _draw_scene(number: int, kind: str, name: str, sky: str, pose: int) -> Scene:
    random = np.random.default_rng(number)
    picture = Image.fromarray(
        _to_bytes(draw_sky(sky) + random.normal(0, SENSOR_NOISE, (HEIGHT, WIDTH, 1)))
    )
    side = round(HEIGHT * random.uniform(*SHARES))
    drawing = Image.open(
        io.BytesIO(
            render_drawing(
                name, side, degrees=random.uniform(-20, 20), mirrored=bool(random.integers(2))
            )
        )
    )
    left = int(random.integers(WIDTH // 12, WIDTH - side - WIDTH // 12))
    # The sky is above: what stands at the bottom of some backgrounds is not flown through.
    top = int(random.integers(HEIGHT // 12, round(HEIGHT * 0.68) - side))
    picture.paste(drawing, (left, top), drawing)
    shown = drawing.getchannel("A").point(lambda alpha: 255 if alpha > 64 else 0).getbbox()
    if shown is None:
        raise ValueError(f"{name} draws nothing")
    box = (left + shown[0], top + shown[1], left + shown[2], top + shown[3])
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    subject = name.lower().replace(" ", "-")
    path = f"{kind}/{subject}-{sky}-{pose + 1}.jpg"
    return Scene(kind, path, subject, sky, buffer.getvalue(), box)


@cache
def draw_sky(sky: str) -> Pixels:
    """Return a background, float32[HEIGHT, WIDTH, 3], 0 to 255."""
    match sky:
        case "clear":
            return _gradient("#2f74c0", "#b9dcf2")
        case "clouds":
            return _blend(_gradient("#3f86cf", "#a9d3ef"), "#f4f6f8", _billows(1, 0.45, 0.75))
        case "dusk":
            return _gradient("#3b2f66", "#f0a25e")
        case "overcast":
            return _blend(_gradient("#9aa2aa", "#c3c8cc"), "#767e88", _billows(2, 0.3, 0.9))
        case "sea":
            shore = np.arange(HEIGHT)[:, None, None] >= HEIGHT * 0.78
            waves = _blend(_gradient("#2c6e86", "#174a5f"), "#7fb3bf", _billows(3, 0.55, 0.8))
            return np.where(shore, waves, _gradient("#86b7d9", "#f3e2c6"))
        case "trees":
            tops = HEIGHT * (0.76 + 0.14 * _billows(4, 0.2, 0.8)[:1, :, 0])
            wood = np.arange(HEIGHT)[:, None, None] >= tops[..., None]
            leaves = _blend(_gradient("#2d4a2b", "#1d2f1c"), "#4f7341", _billows(5, 0.4, 0.8))
            return np.where(wood, leaves, _gradient("#5fa0dc", "#dcebf5"))
    raise ValueError(f"There is no sky called {sky!r}.")


def _gradient(top: str, bottom: str) -> Pixels:
    share = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
    rows = _colour(top) * (1 - share) + _colour(bottom) * share
    return np.broadcast_to(rows, (HEIGHT, WIDTH, 3)).astype(np.float32)


def _blend(below: Pixels, colour: str, cover: Pixels) -> Pixels:
    return below * (1 - cover) + _colour(colour) * cover


def _colour(code: str) -> Pixels:
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float32)


def _billows(seed: int, low: float, high: float) -> Pixels:
    """Return smooth noise of several sizes, float32[HEIGHT, WIDTH, 1], cut to 0 to 1.

    Args:
        seed: of the noise.
        low: below this value of the noise there is nothing.
        high: from here on it covers wholly.
    """
    random = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    weight = 0.0
    for octave in range(5):
        cells = random.random((3 << octave, 4 << octave), dtype=np.float32)
        layer = Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        total += np.asarray(layer) / 2**octave
        weight += 1 / 2**octave
    cover = np.clip((total / weight - low) / (high - low), 0, 1)
    return np.asarray(cover[..., None], dtype=np.float32)


def _to_bytes(pixels: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(pixels), 0, 255), dtype=np.uint8)
