"""Write text into a picture: names under tiles, and sentences in their place."""

import re
from bisect import bisect_left
from collections.abc import Callable

from PIL import ImageDraw, ImageFont

from tasks.core.text import printable

SENTENCE_MARGIN = 20

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def write_sentence(
    draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], side: int, ink: str
) -> None:
    """Write a sentence into a square, as large as it fits; a very long one is cut."""
    width = side - 2 * SENTENCE_MARGIN
    for size in (34, 26, 20, 16):
        font = ImageFont.load_default(size)
        lines = _wrap(draw, text, font, width)
        most = width // (size + 8)
        if len(lines) <= most:
            break
    shown = [*lines[: most - 1], lines[most - 1] + "…"] if len(lines) > most else lines
    top = corner[1] + (side - len(shown) * (size + 8)) // 2
    for number, line in enumerate(shown):
        left = corner[0] + (side - draw.textlength(line, font)) // 2
        draw.text((left, top + number * (size + 8)), line, ink, font)


def _wrap(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: Font,
    width: int,
) -> list[str]:
    lines = [""]
    for word in printable(text.replace("\n", " ")).split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_shorten(draw, line, font, width) for line in lines]


def fit_name(draw: ImageDraw.ImageDraw, name: str, font: Font, width: int) -> list[str]:
    """Return a name on one line or two; one that is longer keeps its beginning and its end.

    A second line begins after the last folder where that fits, else after a sign that divides
    words, else anywhere.
    """
    text = printable(name)

    def fits(part: str) -> bool:
        return draw.textlength(part, font) <= width

    if fits(text):
        return [text]
    head = _most(text, fits)
    for end in (text.rfind("/") + 1, *_divisions(text[:head]), head):
        if 0 < end <= head and fits(text[end:]):
            return [text[:end].rstrip(), text[end:]]
    return [text[:head], "…" + text[len(text) - _most(text[::-1], lambda part: fits("…" + part)) :]]


def _divisions(text: str) -> list[int]:
    """Return where words begin after a sign that divides them, the last first."""
    return [found.end() for found in re.finditer(r"[-_/ ]", text)][::-1]


def _most(text: str, fits: Callable[[str], bool]) -> int:
    """Return how many letters fit from the text's beginning; one does, however wide it is."""
    return max(1, bisect_left(range(1, len(text) + 1), True, key=lambda end: not fits(text[:end])))


def _shorten(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int) -> str:
    """Return the text on one line, its end cut where it is too long."""
    if draw.textlength(text, font) <= width:
        return text
    return text[: _most(text, lambda part: draw.textlength(part + "…", font) <= width)] + "…"
