import csv
import io
import random
import re
from pathlib import Path

from PIL import Image as Picture

from tasks.core.pictures.sheet import MARGIN, Tile
from tasks.core.reports.duplicates import (
    _compose,
    duplicates_markdown,
    duplicates_sentence,
    write_duplicates,
)
from tasks.core.searching.find_duplicates import DuplicateGroup, Duplicates, _Groups
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tasks.core.types import Image

SPACE = Space(7, 7, "photos", "multimodalembedding@001", 128, "none", "active")


def image(number: int, content: int | None = None) -> Image:
    """Return an image, by default of a content of its own."""
    key = f"{number if content is None else content:04d}"
    return Image("bucket", f"{number:04d}.png", 1, key)


def group(*numbers: int, distance: float = 0.0) -> DuplicateGroup:
    return DuplicateGroup(tuple(map(image, numbers)), distance)


def test_pairs_that_share_a_content_make_one_group_with_all_images_of_each() -> None:
    groups = _Groups(["0002", "0009"])
    for one, other, distance in ((1, 2, 0.1), (5, 6, 0.0), (3, 2, 0.2), (2, 1, 0.1)):
        groups.join(f"{one:04d}", f"{other:04d}", distance)
    assert set(groups.contents) == {f"{number:04d}" for number in (1, 2, 3, 5, 6, 9)}
    images = [*map(image, (6, 1, 3, 5, 2, 9)), image(20, 2), image(90, 9)]
    found = groups.of_images(images)
    assert [[one.image_id[:4] for one in each.images] for each in found] == [
        ["0001", "0002", "0003", "0020"],
        ["0005", "0006"],
        ["0009", "0090"],
    ]
    assert [(each.distance, each.contents) for each in found] == [(0.2, 3), (0.0, 2), (0.0, 1)]


def test_the_same_groups_come_out_in_whatever_order_the_pairs_come() -> None:
    shuffle = random.Random(1).shuffle  # noqa: S311 - orders pairs, keeps no secret
    pairs = [(number, number + 1) for number in range(2000) if number % 10 != 9]
    wanted = tuple(group(*range(ten, ten + 10), distance=0.5) for ten in range(0, 2000, 10))
    for _ in range(3):
        shuffle(pairs)
        groups = _Groups()
        for pair in pairs:
            ends = [f"{number:04d}" for number in pair]
            shuffle(ends)
            groups.join(ends[0], ends[1], 0.5)
        assert groups.of_images(list(map(image, range(2000)))) == wanted


def test_what_could_go_is_all_but_one_of_each_group() -> None:
    found = Duplicates(SPACE, 0.1, (group(1, 2, 3), group(4, 5)))
    assert (found.images, found.spare, found.copies) == (5, 3, 0)
    copies = DuplicateGroup((image(6), image(7, 6)), 0.0)
    found = Duplicates(SPACE, 0.1, (*found.groups, copies))
    assert duplicates_sentence(found).startswith("3 groups of 7 images")
    assert duplicates_sentence(found).endswith("4 could go, 1 of them a copy.")


def test_the_csv_lists_every_image_of_every_group(tmp_path: Path) -> None:
    odd = Image("b", 'a,"b"\n.png', 1, "key")
    found = Duplicates(SPACE, 0.1, (DuplicateGroup((odd, image(1)), 0.0), group(4, 5)))
    report = write_duplicates(Settings(data_directory=tmp_path), found, b"png")
    assert (report.groups, report.images) == (2, 4)
    assert report.picture is not None
    assert report.picture.parent == report.csv.parent
    assert report.picture.read_bytes() == b"png"
    with report.csv.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["group", "bucket", "image_id"]
    assert rows[0] == ["1", "b", 'a,"b"\n.png']
    assert [row[0] for row in rows] == ["1", "1", "2", "2"]


def test_of_no_group_there_is_no_picture_and_the_csv_is_empty(tmp_path: Path) -> None:
    settings = Settings(data_directory=tmp_path)
    write_duplicates(settings, Duplicates(SPACE, 0.1, (group(1, 2),)), b"png")
    report = write_duplicates(settings, Duplicates(SPACE, 0.0, ()), b"png")
    assert (report.picture, report.first) == (None, ())
    assert report.csv.read_text().split() == ["group,bucket,image_id"]


def test_a_page_shows_a_bounded_number_of_groups_and_images() -> None:
    found = Duplicates(SPACE, 0.1, tuple(group(*range(n, n + 500)) for n in range(300)))
    found = Duplicates(SPACE, 0.1, (DuplicateGroup((image(1), image(2, 1)), 0.0), *found.groups))
    page = duplicates_markdown(Settings(), found, b"png", Path("all.csv"))
    assert len(re.findall(r"^\d+\. ", page, re.MULTILINE)) == 50
    assert "and 494 more" in page
    assert "1. 2 images, copies: " in page
    assert "2. 500 images, 500 contents, in pairs up to 0.0000 apart: " in page
    assert "The picture shows the first 6 of 301 groups." in page
    assert len(page) < 100_000


def test_each_group_is_a_row_of_the_picture() -> None:
    rows = [[Tile("a.png", "2 images", None), Tile("b.png", "", None)]] * 3
    heights = [Picture.open(io.BytesIO(_compose(shown))).height for shown in (rows[:1], rows)]
    assert heights[1] - MARGIN == 3 * (heights[0] - MARGIN)
