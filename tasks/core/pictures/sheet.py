"""Draw the contact sheet: the query, and beside it its neighbours with names and distances."""

import asyncio
import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from google.cloud import storage
from PIL import Image, ImageDraw, ImageFont

from tasks.core.errors import ImageGone, StorageError, UnreadablePicture
from tasks.core.pictures.captions import fit_name, write_sentence
from tasks.core.pictures.thumbnails import read_bounded, shrink

WIDTH = 1000
MARGIN = 20
QUERY_SIDE = 300
HELD_SIDE = 2 * QUERY_SIDE
"""Pixels: as much of a picture as is held until its tile is drawn."""

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


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of the sheet, or a sentence in its place.

    `data` is None where the picture could not be read, and with a sentence.
    """

    title: str
    subtitle: str
    data: bytes | None
    sentence: str | None = None


async def read_tile(client: storage.Client | None, bucket: str, name: str) -> bytes | None:
    """Return an object as a small picture for a tile; None where it, or any, cannot be drawn."""
    if client is None:
        return None
    try:
        return await asyncio.to_thread(_read_small, client, bucket, name)
    except (ImageGone, StorageError, UnreadablePicture):
        # A sheet with a blank tile is worth more than no sheet.
        return None


def _read_small(client: storage.Client, bucket: str, name: str) -> bytes:
    # A sheet's pictures are all held until it is drawn: as they are they could be a gigabyte.
    buffer = io.BytesIO()
    data = read_bounded(client, bucket, name)
    shrink(data, name, HELD_SIDE, HELD_SIDE).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


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


def how_many_drawn(found: int) -> str:
    """Return a sentence where a sheet shows fewer neighbours than there are; else nothing."""
    if found <= MOST_NEIGHBOURS:
        return ""
    return f"The picture shows the first {MOST_NEIGHBOURS} of {found} images."


def as_data_uri(png: bytes) -> str:
    """Return a PNG as a data: URI, which Prefect's UI paints inside markdown."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _draw(tiles: Sequence[Tile]) -> Image.Image:
    columns = 3 if len(tiles) - 1 <= 6 else 5  # noqa: PLR2004 - up to two rows of three
    rest = tiles[1:]
    rows = max(1, -(-len(rest) // columns))
    grid_left = MARGIN + QUERY_SIDE + MARGIN
    side = (WIDTH - grid_left - MARGIN * columns) // columns
    step = side + caption_height(side) + MARGIN
    query_height = QUERY_SIDE + caption_height(QUERY_SIDE, QUERY_LETTERS)
    height = MARGIN + max(rows * step, query_height + MARGIN)
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw_tile(sheet, draw, tiles[0], (MARGIN, MARGIN), QUERY_SIDE)
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
        write_sentence(draw, tile.sentence, corner, side, INK)
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
        picture = shrink(data or b"", "it", side - 8, side - 8)
    except UnreadablePicture:
        return Image.new("RGB", (side - 8, side - 8), FRAME)
    layer = picture.convert("RGBA")
    paper = Image.new("RGBA", layer.size, PAPER)
    return Image.alpha_composite(paper, layer).convert("RGB")
