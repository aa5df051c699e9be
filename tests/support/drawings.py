"""Pictures of a bird on a sky, drawn in a millisecond, for tests of what is found in them."""

import io

import numpy as np
from PIL import Image, ImageDraw

BODY = (0.0, 0.3, 0.7, 0.9)
HEAD = (0.5, 0.0, 0.95, 0.5)
LINE = "#141414"


def sky(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a sky that gets lighter towards the horizon, as a camera with some noise sees it."""
    share = np.linspace(0, 1, height)[:, None, None]
    rows = np.array([60, 120, 190]) * (1 - share) + np.array([190, 215, 235]) * share
    noise = np.random.default_rng(seed).normal(0, 2, (height, width, 3))
    return Image.fromarray(np.clip(rows + noise, 0, 255).astype(np.uint8))


def draw_bird(
    image: Image.Image, left: int, top: int, side: int, colour: str = "#c08030"
) -> tuple[int, int, int, int]:
    """Draw a bird with a thin neck into a picture; return its box, right and bottom outside."""
    draw = ImageDraw.Draw(image)
    pen = max(2, side // 20)
    for x0, y0, x1, y1 in (BODY, HEAD):
        corners = (left + x0 * side, top + y0 * side, left + x1 * side, top + y1 * side)
        draw.ellipse(corners, fill=colour, outline=LINE, width=pen)
    beak = [(0.93, 0.2), (1.0, 0.25), (0.93, 0.3)]
    draw.polygon([(left + x * side, top + y * side) for x, y in beak], fill=LINE)
    return left, top, left + side + 1, top + round(0.9 * side) + 1


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return a picture as a file's bytes."""
    buffer = io.BytesIO()
    # Other formats than PNG pass over what they do not know.
    image.save(buffer, kind, **{"compress_level": 1, **options})
    return buffer.getvalue()
