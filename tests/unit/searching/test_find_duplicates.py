import csv
import io
import random
import re
from pathlib import Path

from PIL import Image

from tasks.core.pictures.sheet import MARGIN, Tile
from tasks.core.reports.duplicates import (
    _compose,
    duplicates_markdown,
    duplicates_sentence,
    write_duplicates,
)
from tasks.core.searching.find_duplicates import DuplicateGroup, Duplicates, StoredImage, _Groups
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space

SPACE = Space(7, "photos", "multimodalembedding@001", 128, "none", "space_7", "active")


def image(number: int) -> StoredImage:
    return StoredImage("bucket", f"{number:04d}.png")


def group(*numbers: int, distance: float = 0.0) -> DuplicateGroup:
    return DuplicateGroup(tuple(map(image, numbers)), distance)


def test_pairs_that_share_an_image_make_one_group() -> None:
    groups = _Groups()
    for one, other, distance in ((1, 2, 0.1), (5, 6, 0.0), (3, 2, 0.2), (2, 1, 0.1)):
        groups.join(image(one), image(other), distance)
    assert groups.finished() == (group(1, 2, 3, distance=0.2), group(5, 6))


def test_the_same_groups_come_out_in_whatever_order_the_pairs_come() -> None:
    shuffle = random.Random(1).shuffle  # noqa: S311 - orders pairs, keeps no secret
    pairs = [(number, number + 1) for number in range(2000) if number % 10 != 9]
    wanted = tuple(group(*range(ten, ten + 10), distance=0.5) for ten in range(0, 2000, 10))
    for _ in range(3):
        shuffle(pairs)
        groups = _Groups()
        for pair in pairs:
            ends = list(map(image, pair))
            shuffle(ends)
            groups.join(ends[0], ends[1], 0.5)
        assert groups.finished() == wanted


def test_the_same_name_in_two_buckets_is_two_images() -> None:
    groups = _Groups()
    groups.join(StoredImage("a", "x.png"), StoredImage("b", "x.png"), 0)
    assert len(groups.finished()[0].images) == 2


def test_what_could_go_is_all_but_one_of_each_group() -> None:
    found = Duplicates(SPACE, 0.1, (group(1, 2, 3), group(4, 5)))
    assert (found.images, found.spare) == (5, 3)
    assert duplicates_sentence(found).startswith("2 groups of 5 images")


def test_the_csv_lists_every_image_of_every_group(tmp_path: Path) -> None:
    odd = StoredImage("b", 'a,"b"\n.png')
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
    page = duplicates_markdown(Settings(), found, b"png", Path("all.csv"))
    assert len(re.findall(r"^\d+\. ", page, re.MULTILINE)) == 50
    assert "and 494 more" in page
    assert "The picture shows the first 6 of 300 groups." in page
    assert len(page) < 100_000


def test_each_group_is_a_row_of_the_picture() -> None:
    rows = [[Tile("a.png", "2 images", None), Tile("b.png", "", None)]] * 3
    heights = [Image.open(io.BytesIO(_compose(shown))).height for shown in (rows[:1], rows)]
    assert heights[1] - MARGIN == 3 * (heights[0] - MARGIN)
