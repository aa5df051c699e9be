"""Draw the contact sheet: the query, and beside it its neighbours with names and distances."""

import asyncio
import base64
import io
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tasks.core.errors import ArtifactError, ImageGone, StorageError
from tasks.core.gcs import download
from tasks.core.markdown import code
from tasks.core.run import Run
from tasks.core.types import Verdict

WIDTH = 1000
MARGIN = 20
MOST_BYTES = 150_000
"""As base64 in a markdown artifact this stays under 200 KB."""

ROOMY = 150
"""Tiles of at most this many pixels have small captions."""

LINES = 2
"""Of a name under its tile."""

MOST_NEIGHBOURS = 20
QUERY_LETTERS, LARGE_LETTERS, SMALL_LETTERS = 22, 18, 13
LEADING = 3
PAPER, INK, FAINT, FRAME, ACCENT = "#ffffff", "#1f2933", "#6b7684", "#d9dee5", "#2f6fde"


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of the sheet, or a sentence in its place.

    `data` is None where the picture could not be read, and with a sentence.
    """

    title: str
    subtitle: str
    data: bytes | None
    sentence: str | None = None


async def draw_contact_sheet(run: Run, verdict: Verdict) -> Path:
    """Write the sheet of a verdict's query and neighbours as PNG under the run's directory.

    Raises:
        ArtifactError: the file cannot be written.
    """
    tiles = [Tile(verdict.query, "the query", await _read(run, run.options.bucket, verdict.query))]
    for rank, neighbour in enumerate(verdict.neighbours[:MOST_NEIGHBOURS], start=1):
        data = await _read(run, neighbour.bucket, neighbour.image_id)
        tiles.append(Tile(neighbour.image_id, f"{rank}.  distance {neighbour.distance:.3f}", data))
    try:
        run.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        run.contact_sheet.write_bytes(await asyncio.to_thread(compose_sheet, tiles))
    except OSError as error:
        raise ArtifactError(f"Cannot write {run.contact_sheet}: {error.strerror}.") from error
    return run.contact_sheet


async def _read(run: Run, bucket: str, image_id: str) -> bytes | None:
    try:
        return await download(run.clients.storage, bucket, image_id)
    except (ImageGone, StorageError):
        # A sheet with a blank tile is worth more than no sheet.
        return None


def compose_sheet(tiles: Sequence[Tile]) -> bytes:
    """Return the sheet as PNG under 150 kB: the first tile large at the left, the rest in rows."""
    return encode_sheet(_draw(tiles))


def encode_sheet(sheet: Image.Image) -> bytes:
    """Return a drawn sheet as PNG under 150 kB, in fewer colours where it takes that."""
    for colours in (None, 256, 128, 64, 32, 16, 8):
        image = sheet if colours is None else sheet.quantize(colours)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    return buffer.getvalue()


def as_data_uri(png: bytes) -> str:
    """Return a PNG as a data: URI, which Prefect's UI paints inside markdown."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _draw(tiles: Sequence[Tile]) -> Image.Image:
    columns = 3 if len(tiles) - 1 <= 6 else 5  # noqa: PLR2004 - up to two rows of three
    rest = tiles[1:]
    rows = max(1, -(-len(rest) // columns))
    query_side = 300
    grid_left = MARGIN + query_side + MARGIN
    side = (WIDTH - grid_left - MARGIN * columns) // columns
    step = side + caption_height(side) + MARGIN
    query_height = query_side + caption_height(query_side, QUERY_LETTERS)
    height = MARGIN + max(rows * step, query_height + MARGIN)
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw_tile(sheet, draw, tiles[0], (MARGIN, MARGIN), query_side)
    for number, tile in enumerate(rest):
        row, column = divmod(number, columns)
        corner = (grid_left + column * (side + MARGIN), MARGIN + row * step)
        draw_tile(sheet, draw, tile, corner, side)
    return sheet


def letters(side: int) -> int:
    """Return the size of the letters under a tile of so many pixels."""
    return LARGE_LETTERS if side > ROOMY else SMALL_LETTERS


def caption_height(side: int, size: int | None = None) -> int:
    """Return the pixels under a tile of so many: a name of two lines, and the line below it."""
    return 6 + (LINES + 1) * ((size or letters(side)) + LEADING) + LEADING


def draw_tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], side: int
) -> None:
    """Draw a tile `side` pixels wide, its caption below, with its upper left corner there."""
    left, top = corner
    if tile.sentence is None:
        picture = _thumbnail(tile.data, side)
        place = (left + (side - picture.width) // 2, top + (side - picture.height) // 2)
        sheet.paste(picture, place)
    else:
        _write(draw, tile.sentence, corner, side)
    is_query = tile.subtitle == "the query"
    draw.rectangle(
        (left, top, left + side - 1, top + side - 1),
        outline=ACCENT if is_query else FRAME,
        width=3 if is_query else 1,
    )
    size = QUERY_LETTERS if is_query else letters(side)
    font = ImageFont.load_default(size)
    lines = fit_name(draw, tile.title, font, side)
    top += side + 6
    for number, line in enumerate(lines):
        draw.text((left, top + number * (size + LEADING)), line, INK, font)
    below = top + len(lines) * (size + LEADING) + 1
    draw.text((left, below), tile.subtitle, FAINT, ImageFont.load_default(size - 1))


def _thumbnail(data: bytes | None, side: int) -> Image.Image:
    try:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data or b"")))
        picture.thumbnail((side - 8, side - 8))
        layer = picture.convert("RGBA")
        paper = Image.new("RGBA", layer.size, PAPER)
        return Image.alpha_composite(paper, layer).convert("RGB")
    # Pillow reports a PNG with a broken chunk as a SyntaxError.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Image.new("RGB", (side - 8, side - 8), FRAME)


def _write(draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], side: int) -> None:
    """Write a sentence into a square, as large as it fits; a very long one is cut."""
    width = side - 2 * MARGIN
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
        draw.text((left, top + number * (size + 8)), line, INK, font)


def _wrap(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: Font,
    width: int,
) -> list[str]:
    lines = [""]
    for word in _printable(text.replace("\n", " ")).split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_shorten(draw, line, font, width) for line in lines]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def fit_name(draw: ImageDraw.ImageDraw, name: str, font: Font, width: int) -> list[str]:
    """Return a name on one line or two; one that is longer keeps its beginning and its end.

    A second line begins after the last folder where that fits, else after a sign that divides
    words, else anywhere.
    """
    text = _printable(name)

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


def contact_sheet_markdown(verdict: Verdict, png: bytes) -> str:
    """Return the sheet and a table of ranks, names and distances as markdown."""
    rows = "\n".join(
        f"| {rank} | {code(neighbour.image_id)} | {neighbour.distance:.4f} |"
        for rank, neighbour in enumerate(verdict.neighbours, start=1)
    )
    return (
        f"# Nearest to {code(verdict.query)}\n\n"
        f"![The query and its nearest images]({as_data_uri(png)})\n\n"
        f"| rank | image | L2 distance |\n| --- | --- | --- |\n{rows}\n"
    )
