"""Files that several processes write and remove at once are whole, and no more than are kept."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.core.errors import ArtifactError
from tasks.core.files import keep_newest_sheets, replacing


def sheets(directory: Path, count: int) -> list[Path]:
    """Write sheets, the oldest first, by their clocks."""
    paths = [directory / f"{number:016x}.png" for number in range(count)]
    for second, path in enumerate(paths):
        path.write_bytes(b"png")
        os.utime(path, (second, second))
    return paths


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    with replacing(path) as made:
        made.write_bytes(b"first")
        assert not path.exists()
    with suppress(ZeroDivisionError), replacing(path) as made:
        made.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "a.png"
    with pytest.raises(ArtifactError, match=r"Cannot write .*a\.png: "), replacing(path) as made:
        made.write_bytes(b"x")


def test_the_newest_sheets_stay_and_what_is_not_ours(tmp_path: Path) -> None:
    paths = sheets(tmp_path, 9)
    half = tmp_path / f".{3:016x}-{5:032x}.png"
    others = [tmp_path / "my plane.png", tmp_path / "notes.txt", tmp_path / f"{1:016x}.jpg"]
    for path in (half, *others):
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
    under_way = tmp_path / f".{3:016x}-{6:032x}.png"
    under_way.write_bytes(b"x")
    for _ in range(2):
        keep_newest_sheets(tmp_path, 4)
        assert set(tmp_path.iterdir()) == {*paths[-4:], under_way, *others}


def test_what_cannot_be_removed_stops_nothing(tmp_path: Path) -> None:
    paths = sheets(tmp_path, 3)
    blocked = tmp_path / f"{99:016x}.png"
    blocked.mkdir()
    os.utime(blocked, (1, 1))
    keep_newest_sheets(tmp_path, 1)
    assert set(tmp_path.iterdir()) == {paths[-1], blocked}


def test_several_may_write_and_remove_at_once(tmp_path: Path) -> None:
    def ask(number: int) -> None:
        with replacing(tmp_path / f"{number:016x}.png") as made:
            made.write_bytes(b"png")
        keep_newest_sheets(tmp_path, 5)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(200)))
    keep_newest_sheets(tmp_path, 5)
    assert len(list(tmp_path.iterdir())) == 5
