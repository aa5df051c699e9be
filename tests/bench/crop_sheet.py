"""Draw docs/crop-before-after.png: python -m tests.bench.crop_sheet [FILE].

For a plane and a bird on shared skies: the nearest images of the whole picture, and those of the
picture cropped to its subject, which are shown as they are sent. Found by the flow, with the
local model.
"""

import asyncio
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageColor, ImageDraw, ImageFont

from deployments.local.addresses import StackOptions
from deployments.local.stack import running
from tasks.core.models import MULTIMODAL_EMBEDDING
from tasks.core.pictures.cropping import crop_to_subject
from tasks.core.pictures.sheet import INK, MARGIN, PAPER, Tile, draw_tile
from tasks.core.types import Neighbour
from tests.bench.quality import NEAREST, Neighbourhoods, kind_of, look_around, scenes_bucket
from tests.bench.session import ROOT, Session
from tests.support.scenes import draw_scenes

SHEET = ROOT / "docs" / "crop-before-after.png"
QUERIES = ("planes/airplane-sea-2.jpg", "birds/eagle-overcast-1.jpg")
QUERY_SIDE, SIDE = 176, 150
HEADING = 34
CAPTION = 58
"""Under the query: its name, which is short, and the line below."""
RIGHT, WRONG = "#2e9e5b", "#d64545"
WIDTH = MARGIN + QUERY_SIDE + MARGIN + NEAREST * (SIDE + MARGIN)
ROW = HEADING + max(QUERY_SIDE, SIDE) + CAPTION
BLOCK = 2 * ROW + MARGIN


@dataclass(frozen=True, slots=True)
class Found:
    """What was nearest to each scene before and after cropping, and the scenes' files."""

    whole: Neighbourhoods
    cropped: Neighbourhoods
    files: Mapping[str, bytes]


async def find() -> Found:
    """Start a stack, embed the scenes both ways, and return what is nearest to each."""
    with TemporaryDirectory(prefix="birdwalk-sheet-") as directory:
        async with running(StackOptions(Path(directory) / "stack")) as stack:
            session = Session(stack.addresses, Path(directory), ())
            with scenes_bucket(session) as bucket:
                whole = await look_around(session, bucket, "", "none")
                cropped = await look_around(session, bucket, "", "subject")
    return Found(whole, cropped, {scene.name: scene.data for scene in draw_scenes()})


def draw(found: Found) -> Image.Image:
    """Return the sheet: for each query two rows, before and after."""
    sheet = Image.new("RGB", (WIDTH, MARGIN // 2 + len(QUERIES) * BLOCK), PAPER)
    pen = ImageDraw.Draw(sheet)
    left = 2 * MARGIN + QUERY_SIDE
    crops = {name: _crop(name, data) for name, data in found.files.items()}
    for number, query in enumerate(QUERIES):
        top = MARGIN // 2 + number * BLOCK
        for row, (heading, near) in enumerate(
            (
                ('crop="none": nearest to the whole picture', found.whole.exact[query]),
                ('crop="subject": nearest to what it shows', found.cropped.exact[query]),
            )
        ):
            files = found.files if row == 0 else crops
            place = (left, top + row * ROW + HEADING)
            pen.text((left, place[1] - HEADING + 4), heading, INK, ImageFont.load_default(19))
            shown = Tile(_stem(query), "the query", files[query])
            draw_tile(sheet, pen, shown, (MARGIN, place[1]), QUERY_SIDE)
            _draw_row(sheet, pen, query, near, place, files)
    return sheet


def _crop(name: str, data: bytes) -> bytes:
    """Return what is sent of a scene, as large as a tile."""
    crop = Image.open(io.BytesIO(crop_to_subject(data, name, MULTIMODAL_EMBEDDING)))
    share = QUERY_SIDE / max(crop.size)
    size = (round(share * crop.width), round(share * crop.height))
    buffer = io.BytesIO()
    crop.resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[1].removesuffix(".jpg")


def _draw_row(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    query: str,
    near: list[Neighbour],
    corner: tuple[int, int],
    files: Mapping[str, bytes],
) -> None:
    for rank, neighbour in enumerate(near[:NEAREST], start=1):
        name = neighbour.image_id
        place = (corner[0] + (rank - 1) * (SIDE + MARGIN), corner[1])
        tile = Tile(_stem(name), f"{rank}.  distance {neighbour.distance:.3f}", files[name])
        draw_tile(sheet, pen, tile, place, SIDE)
        right = kind_of(name) == kind_of(query)
        end = (place[0] + SIDE - 1, place[1] + SIDE - 1)
        pen.rectangle((*place, *end), outline=RIGHT if right else WRONG, width=4)


def save(sheet: Image.Image, path: Path) -> None:
    """Write the sheet in 256 colours, dithered: without that the skies would fall into bands."""
    palette = sheet.quantize(256, kmeans=2)
    # Rounding leaves the paper not quite white, and white would be dithered too.
    colours = palette.getpalette() or []
    white = max(range(0, len(colours), 3), key=lambda first: sum(colours[first : first + 3]))
    palette.putpalette([*colours[:white], *ImageColor.getrgb(PAPER), *colours[white + 3 :]])
    dithered = sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    dithered.save(path, "PNG", optimize=True)


def main() -> int:
    """Write the sheet to the file that the command line names, or into docs/."""
    path = Path(sys.argv[1]) if sys.argv[1:] else SHEET
    sheet = draw(asyncio.run(find()))
    save(sheet, path)
    print(f"{path}: {sheet.width} x {sheet.height}, {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
