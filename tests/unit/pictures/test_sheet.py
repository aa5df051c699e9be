import base64
import io
import random
import struct
import zlib
from unittest.mock import Mock

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from tasks.core.pictures import thumbnails
from tasks.core.pictures.scaling import ORIENTATION
from tasks.core.pictures.sheet import (
    MOST_BYTES,
    Tile,
    _draw,
    _thumbnail,
    as_data_uri,
    compose_sheet,
)
from tasks.core.reports.contact_sheet import contact_sheet_markdown
from tasks.core.types import Neighbour, Verdict

RANDOM = random.Random(5)  # noqa: S311 - draws pictures, keeps no secret

ODD_NAMES = [
    "x" * 1024,
    "W" * 1024,
    "",
    "\n\r\t\0",
    "Köln ✈ 🦩 \u202egnp.exe",
    "שלום.jpg",
    "\ud800",
    "a|b`c\\|d.jpg",
]


def picture(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> bytes:
    """Return an encoded picture of pure noise: nothing compresses worse."""
    image = Image.frombytes("RGB", size, RANDOM.randbytes(3 * size[0] * size[1]))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, kind)
    return buffer.getvalue()


def tiles(count: int, data: bytes | None) -> list[Tile]:
    query = Tile("planes/query.jpg", "the query", data)
    return [query, *(Tile(f"planes/{n}.jpg", f"{n}.  distance 0.1", data) for n in range(count))]


def drawn(sheet: list[Tile]) -> Image.Image:
    image = Image.open(io.BytesIO(compose_sheet(sheet)))
    assert image.format == "PNG"
    return image.convert("RGB")


@pytest.mark.parametrize("count", [0, 20])
def test_a_sheet_of_noise_fits_an_artifact(count: int) -> None:
    noise = [
        Tile(tile.title, tile.subtitle, picture("BMP", size=(300, 300)))
        for tile in tiles(count, None)
    ]
    png = compose_sheet(noise)
    assert len(png) <= MOST_BYTES
    assert len(as_data_uri(png)) < 204_800
    image = Image.open(io.BytesIO(png))
    assert image.width == 1000
    assert 300 < image.height < 1000


@pytest.mark.parametrize("count", [1, 6, 7, 20])
def test_every_tile_lies_inside_the_sheet(count: int) -> None:
    sheet = _draw(tiles(count, picture("BMP", size=(300, 300))))
    width, height = sheet.size
    rim = [(x, y) for y in range(height) for x in (*range(19), *range(width - 19, width))]
    rim += [(x, y) for x in range(width) for y in (0, 18, height - 1)]
    assert {sheet.getpixel(place) for place in rim} == {(255, 255, 255)}


def test_the_same_tiles_make_the_same_sheet() -> None:
    sheet = tiles(7, picture())
    assert compose_sheet(sheet) == compose_sheet(list(sheet))


@pytest.mark.parametrize("data", [None, b"", b"not a picture", picture()[:200]], ids=repr)
def test_an_unreadable_picture_leaves_a_blank_tile(data: bytes | None) -> None:
    sheet = drawn([Tile("q.jpg", "the query", data)])
    assert sheet.getpixel((170, 170)) == (0xD9, 0xDE, 0xE5)


def test_a_readable_picture_is_shown() -> None:
    red = io.BytesIO()
    Image.new("RGB", (500, 400), "red").save(red, "PNG")
    assert drawn([Tile("q.jpg", "the query", red.getvalue())]).getpixel((170, 170)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "1"),
        ("PNG", "P"),
        ("PNG", "LA"),
        ("PNG", "RGBA"),
        ("PNG", "I;16"),
        ("GIF", "P"),
        ("BMP", "RGB"),
    ],
)
def test_every_kind_of_picture_is_shown(kind: str, mode: str) -> None:
    image = Image.linear_gradient("L").convert("RGB")
    buffer = io.BytesIO()
    deep = image.convert("I").point(lambda value: 257 * value).convert("I;16")
    (deep if mode == "I;16" else image.convert(mode)).save(buffer, kind)
    colours = _thumbnail(buffer.getvalue(), 100).getcolors(100 * 100)
    assert colours is not None
    assert len(colours) > 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_picture_never_stops_the_sheet(kind: str) -> None:
    whole = picture(kind)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(RANDOM.choice((1, 3, 20))):
            damaged[RANDOM.randrange(min(len(damaged), 400))] = RANDOM.randrange(256)
        assert _thumbnail(bytes(damaged), 50).mode == "RGB"


ASCII, RATIONAL, FLOAT = 2, 5, 11


def tagged(tag: int, kind: int, value: bytes) -> bytes:
    """Return a JPEG whose EXIF says to turn it, and holds a tag of a kind (EXIF 2.32, 4.6.2)."""
    orientation = b"" if tag == ORIENTATION else struct.pack("<HHLHH", ORIENTATION, 3, 1, 6, 0)
    entries = 2 if orientation else 1
    after = 8 + 2 + 12 * entries + 4
    held = value if len(value) == 4 else struct.pack("<L", after)
    entry = struct.pack("<HHL", tag, kind, 4 if kind == ASCII else 1) + held
    table = struct.pack("<H", entries) + orientation + entry + bytes(4)
    exif = b"Exif\0\0II*\0" + struct.pack("<L", 8) + table + value
    image = Image.new("RGB", (60, 40), "white")
    image.paste("red", (0, 0, 60, 20))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


MISTYPED = [
    (tag, kind, value)
    for tag in (0x0100, 0x0112, 0x011A, 0x0128, 0x0213)  # width, orientation, resolutions, YCbCr
    for kind, value in ((ASCII, b"inch"), (RATIONAL, bytes(8)), (FLOAT, b"\xff\xff\xff\x7f"))
    if (tag, kind) != (0x0112, RATIONAL)
]


@pytest.mark.parametrize(("tag", "kind", "value"), MISTYPED)
def test_a_photograph_with_a_mistyped_tag_is_shown_upright(
    tag: int, kind: int, value: bytes
) -> None:
    shown = _thumbnail(tagged(tag, kind, value), 68)
    if tag == ORIENTATION:
        assert shown.size == (60, 40)
    else:
        assert shown.size == (40, 60)
        assert shown.getpixel((35, 30)) == pytest.approx((254, 0, 0), abs=10)


@pytest.mark.filterwarnings("ignore")
def test_odd_exif_never_stops_the_sheet_and_is_no_reason_not_to_show_a_picture() -> None:
    blank = 0
    for _ in range(400):
        tag = RANDOM.choice((0x0100, 0x0111, 0x0112, 0x011A, 0x0128, 0x0213, 0x8769, 0x8825))
        shown = _thumbnail(tagged(tag, RANDOM.randrange(20), RANDOM.randbytes(4)), 68)
        blank += shown.getcolors() == [(60 * 60, (0xD9, 0xDE, 0xE5))]
    # Pillow does not open one or the other at all.
    assert blank < 20


def test_what_nobody_foresaw_in_a_decoder_leaves_a_blank_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error in (TypeError("x"), KeyError("x"), OverflowError("x"), RecursionError("x")):
        monkeypatch.setattr(Image, "open", Mock(side_effect=error))
        assert _thumbnail(picture(), 50).getcolors() == [(42 * 42, (0xD9, 0xDE, 0xE5))]


def test_of_too_many_pixels_there_is_a_blank_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(_thumbnail(picture(), 50).getcolors(9999) or ()) > 1
    monkeypatch.setattr(thumbnails, "MOST_PIXELS", 60 * 40 - 1)
    assert _thumbnail(picture(), 50).getcolors() == [(42 * 42, (0xD9, 0xDE, 0xE5))]


def test_a_broken_chunk_never_stops_the_sheet() -> None:
    whole = picture()
    at = whole.index(b"IDAT") + 4
    half = whole[at : at + 1000]
    first = len(half).to_bytes(4) + b"IDAT" + half + zlib.crc32(b"IDAT" + half).to_bytes(4)
    # Pillow raises a SyntaxError for a chunk whose name is no name.
    damaged = whole[: at - 8] + first + b"\0\0\0\1\xc9\xf5J\xdd" + bytes(99)
    assert _thumbnail(damaged, 50).getcolors() == [(42 * 42, (0xD9, 0xDE, 0xE5))]


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name[:20]))
def test_an_odd_name_stays_under_its_tile(name: str) -> None:
    sheet = _draw([Tile(name, "the query", None), Tile(name, "1.  distance 0.1", None)])
    # The gap between the query and the grid, and the right edge, stay white.
    for column in (*range(321, 339), *range(981, 1000)):
        assert {sheet.getpixel((column, y)) for y in range(sheet.height)} == {(255, 255, 255)}


def verdict(names: list[str]) -> Verdict:
    found = tuple(Neighbour("birdwalk", name, 0.5) for name in names)
    return Verdict((), names[0], found, len(names), None)


def cells(markdown: str) -> list[list[str]]:
    """Return the table's cells as a reader of markdown sees them."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plane.jpg", "plane.jpg"),
        ("a|b.jpg", "a|b.jpg"),
        ("a\\|b.jpg", "a?|b.jpg"),
        ("a\\\\|b.jpg", "a??|b.jpg"),
        ("|", "|"),
        ("tail\\", "tail\\"),
        ("`tick``tock`", "'tick''tock'"),
        ("two\nlines\r\n| 1 | x | 0 |", "two?lines??| 1 | x | 0 |"),
        ("\u2028\x0b\x0c\x85", "????"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("[a](b) **c** ![](d)", "[a](b) **c** ![](d)"),
        ("=cmd() 🦩", "=cmd() 🦩"),
    ],
    ids=ascii,
)
def test_a_name_cannot_leave_its_cell(name: str, shown: str) -> None:
    markdown = contact_sheet_markdown(verdict([name, "b.jpg"]), b"png")
    assert f"![The query and its nearest images]({as_data_uri(b'png')})" in markdown
    header, first, second = cells(markdown)
    assert header == ["rank", "image", "L2 distance"]
    assert first == ["1", shown, "0.5000"]
    assert second == ["2", "b.jpg", "0.5000"]
    # GitHub's grammar lets a backslash escape a backslash, so that none may stand before a pipe.
    assert "\\\\|" not in markdown


def test_a_data_uri_holds_the_very_bytes() -> None:
    data = bytes(range(256))
    kind, _, encoded = as_data_uri(data).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(encoded) == data
