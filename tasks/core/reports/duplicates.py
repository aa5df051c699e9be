"""Show groups of duplicates: a picture and a page of the largest, and a CSV of all."""

import asyncio
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image as Picture
from PIL import ImageDraw

from tasks.core.concurrency import for_each
from tasks.core.files import replacing
from tasks.core.google.storage import object_link
from tasks.core.pictures.sheet import (
    MARGIN,
    PAPER,
    WIDTH,
    Tile,
    as_data_uri,
    caption_height,
    draw_tile,
    encode_sheet,
    read_tile,
)
from tasks.core.reports.contact_sheet import DOWNLOADS_AT_ONCE
from tasks.core.reports.markdown import code, label
from tasks.core.searching.find_duplicates import DuplicateGroup, Duplicates
from tasks.core.settings import Settings
from tasks.core.text import count
from tasks.core.types import Image

GROUPS_DRAWN = 6
GROUPS_PRINTED = 10
GROUPS_LISTED = 50
IMAGES_OF_A_GROUP = 6
SIDE = (WIDTH - MARGIN) // IMAGES_OF_A_GROUP - MARGIN


@dataclass(frozen=True, slots=True)
class GroupExample:
    """A group without its images: how many, how far apart in pairs (L2), and the first names."""

    images: int
    distance: float
    names: tuple[str, ...]

    @classmethod
    def of(cls, group: DuplicateGroup) -> Self:
        """Return what is printed of a group, which may be of any size."""
        names = tuple(image.image_id for image in group.images[:IMAGES_OF_A_GROUP])
        return cls(len(group.images), group.distance, names)


@dataclass(frozen=True, slots=True)
class DuplicatesReport:
    """How many groups of duplicates there are, the first of them, and the files that show them.

    The CSV lists all; the picture, of the first, is None where there is no group.
    """

    groups: int
    images: int
    sentence: str
    first: tuple[GroupExample, ...]
    csv: Path
    picture: Path | None


async def draw_duplicates(client: Any | None, found: Duplicates) -> bytes:
    """Return a PNG of the first groups, one a row, with the first images of each.

    Args:
        client: google.cloud.storage.Client; where there is none, all tiles are blank.
        found: the groups.
    """
    rows = [await _tiles(client, group) for group in found.groups[:GROUPS_DRAWN]]
    return await asyncio.to_thread(_compose, rows)


async def _tiles(client: Any | None, group: DuplicateGroup) -> list[Tile]:
    async def draw(image: Image) -> Tile:
        return Tile(image.image_id, "", await read_tile(client, image.bucket, image.image_id))

    tiles = await for_each(group.images[:IMAGES_OF_A_GROUP], draw, DOWNLOADS_AT_ONCE)
    caption = f"{len(group.images)} images"
    return [Tile(tiles[0].title, caption, tiles[0].data), *tiles[1:]]


def _compose(rows: list[list[Tile]]) -> bytes:
    step = SIDE + caption_height(SIDE) + MARGIN
    widest = max(map(len, rows), default=1)
    size = (MARGIN + widest * (SIDE + MARGIN), MARGIN + max(1, len(rows)) * step)
    sheet = Picture.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            corner = (MARGIN + column * (SIDE + MARGIN), MARGIN + row * step)
            draw_tile(sheet, draw, tile, corner, SIDE)
    return encode_sheet(sheet)


def duplicates_sentence(found: Duplicates) -> str:
    """Return the outcome in a line."""
    return (
        f"{count(len(found.groups), 'group')} of {count(found.images, 'image')} within an L2"
        f" distance of {found.distance:g}: {found.spare:,} could go,"
        f" {found.copies:,} of them {'a copy' if found.copies == 1 else 'copies'}."
    )


def duplicates_markdown(settings: Settings, found: Duplicates, png: bytes, path: Path) -> str:
    """Return the picture and a list of the first groups, with links, as markdown."""
    rows = "\n".join(
        f"{number}. {len(group.images):,} images, {_apart(group)}: {_linked(settings, group)}"
        for number, group in enumerate(found.groups[:GROUPS_LISTED], start=1)
    )
    groups = len(found.groups)
    picture = f"![The largest groups]({as_data_uri(png)})\n\n" if groups else ""
    if groups > GROUPS_DRAWN:
        picture += f"The picture shows the first {GROUPS_DRAWN} of {groups:,} groups.\n\n"
    return (
        f"# Duplicates in {code(found.space.index)}\n\n{duplicates_sentence(found)}\n\n{picture}"
        f"{rows}\n\n"
        f"All groups: {code(str(path))}\n"
    )


def _apart(group: DuplicateGroup) -> str:
    if group.contents == 1:
        return "copies"
    return f"{group.contents:,} contents, in pairs up to {group.distance:.4f} apart"


def _linked(settings: Settings, group: DuplicateGroup) -> str:
    names = [
        f"[{label(image.image_id)}]({object_link(settings, image.bucket, image.image_id)})"
        for image in group.images[:IMAGES_OF_A_GROUP]
    ]
    left = len(group.images) - len(names)
    return ", ".join(names) + (f" and {left:,} more" if left else "")


def write_duplicates(settings: Settings, found: Duplicates, png: bytes) -> DuplicatesReport:
    """Write all groups as CSV with the columns group, bucket, image_id, and the picture beside it.

    Raises:
        ArtifactError: a file cannot be written.
    """
    path = settings.data_directory / "duplicates" / f"space-{found.space.space_id}.csv"
    with replacing(path) as made, made.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("group", "bucket", "image_id"))
        for number, group in enumerate(found.groups, start=1):
            writer.writerows((number, image.bucket, image.image_id) for image in group.images)
    picture = path.with_suffix(".png")
    with replacing(picture) as made:
        made.write_bytes(png)
    return DuplicatesReport(
        groups=len(found.groups),
        images=found.images,
        sentence=duplicates_sentence(found),
        first=tuple(map(GroupExample.of, found.groups[:GROUPS_PRINTED])),
        csv=path,
        picture=picture if found.groups else None,
    )
