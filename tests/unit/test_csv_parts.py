import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.core.csv_parts import (
    PartWriter,
    batch_of,
    copy_rows,
    format_row,
    parts_in,
    read_part,
)
from tasks.core.errors import ArtifactError
from tasks.core.types import Vector

NAMES = [
    "plane.jpg",
    "a, b.jpg",
    'the "old" one.jpg',
    '"',
    '","',
    "two\nlines.jpg",
    "carriage\rreturn.jpg",
    "both\r\n.jpg",
    '"\n"1,2\n"',
    "Köln ✈ 🦩.jpg",
    "=cmd()|' /C calc'!A0.jpg",
    "../../etc/passwd.jpg",
    " spaces .jpg ",
    "\ttab\x1f.jpg",
    "é" * 512,
    "NA",
    "null",
    "007",
    "True",
]

VECTOR: Vector = np.array([0.1, -0.2, 3e-9], dtype=np.float32)


def write(path: Path, rows: dict[str, Vector], dimension: int = 3) -> None:
    with PartWriter(path, dimension) as writer:
        for name, vector in rows.items():
            writer.append(name, vector)


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel end every file at `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def floats() -> Vector:
    """Every kind of float32: random bits, subnormal, huge, tiny, both zeros."""
    bits = np.random.default_rng(7).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = bits.view(np.float32)
    limits = np.finfo(np.float32)
    odd = [0.0, -0.0, limits.max, limits.min, limits.tiny, limits.smallest_subnormal, 1 / 3]
    return np.concatenate([values[np.isfinite(values)], np.array(odd, dtype=np.float32)])


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_survives_the_part_and_pandas(name: str, tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    write(path, {"first": VECTOR, name: VECTOR, "last": VECTOR})
    assert list(read_part(path, 3)) == ["first", name, "last"]
    frame = pd.read_csv(path, header=None)
    assert frame.shape == (3, 4)
    if name not in {"NA", "null"}:
        assert frame[0].tolist() == ["first", name, "last"]
    frame = pd.read_csv(path, header=None, dtype={0: str}, keep_default_na=False)
    assert frame[0].tolist() == ["first", name, "last"]


def test_float32_survives_bit_for_bit(floats: Vector, tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    write(path, {"a": floats}, len(floats))
    read = read_part(path, len(floats))["a"]
    assert read.dtype == np.float32
    assert np.array_equal(read.view(np.uint32), floats.view(np.uint32))


def test_pandas_reads_the_same_float32(floats: Vector, tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    rows = floats[: len(floats) // 8 * 8].reshape(-1, 8)
    write(path, {f"{number:06d}.jpg": row for number, row in enumerate(rows)}, 8)
    read = pd.read_csv(path, header=None).iloc[:, 1:].to_numpy(np.float32)
    assert np.array_equal(read.view(np.uint32), rows.view(np.uint32))


def test_a_missing_part_is_empty(tmp_path: Path) -> None:
    assert read_part(tmp_path / "part.csv", 3) == {}


def test_a_torn_last_row_is_dropped_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    whole = format_row("one.jpg", VECTOR) + format_row('a "b"\n,1,2\n.jpg', VECTOR)
    torn = format_row('c "\n",7,8,9\n', VECTOR)
    for cut in range(len(torn)):
        path.write_bytes(whole + torn[:cut])
        assert list(read_part(path, 3)) == ["one.jpg", 'a "b"\n,1,2\n.jpg']
        with PartWriter(path, 3) as writer:
            assert writer.finished == {"one.jpg", 'a "b"\n,1,2\n.jpg'}
            writer.append("next.jpg", VECTOR)
        assert path.read_bytes() == whole + format_row("next.jpg", VECTOR)


def test_a_block_of_zeros_after_a_power_cut_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    path.write_bytes(format_row("one.jpg", VECTOR) + bytes(4096))
    write(path, {"two.jpg": VECTOR})
    assert list(read_part(path, 3)) == ["one.jpg", "two.jpg"]


def test_vectors_of_another_dimension_are_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    write(path, {"one.jpg": VECTOR})
    before, files = path.read_bytes(), open_files()
    with pytest.raises(ArtifactError, match="3 numbers where 4 were expected"):
        read_part(path, 4)
    with pytest.raises(ArtifactError, match="3 numbers where 4 were expected"):
        PartWriter(path, 4)
    assert path.read_bytes() == before
    assert open_files() == files


def test_a_full_disk_leaves_no_torn_row(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    row = format_row("00.jpg", VECTOR)
    with PartWriter(path, 3) as writer:
        writer.append("00.jpg", VECTOR)
        for room in range(len(row)):
            with (
                largest_file(len(row) + room),
                pytest.raises(ArtifactError, match=f"Cannot write {path}: File too large"),
            ):
                writer.append("01.jpg", VECTOR)
            assert path.read_bytes() == row
        writer.append("02.jpg", VECTOR)
    assert list(read_part(path, 3)) == ["00.jpg", "02.jpg"]


def test_a_row_written_in_crumbs_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pwrite = tmp_path / "part.csv", os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:5], at))
    write(path, {"one.jpg": VECTOR, "two.jpg": VECTOR})
    assert list(read_part(path, 3)) == ["one.jpg", "two.jpg"]


def test_a_part_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file, where a folder should be")
    with pytest.raises(ArtifactError, match=r"Cannot write .*parts/part\.csv"):
        PartWriter(tmp_path / "parts" / "part.csv", 3)
    (tmp_path / "part.csv").mkdir()
    with pytest.raises(ArtifactError, match=r"Cannot write .*part\.csv"):
        PartWriter(tmp_path / "part.csv", 3)


def test_wanted_rows_are_copied_in_the_order_of_their_names_bytes_each_once(
    tmp_path: Path,
) -> None:
    part, target = tmp_path / "part.csv", tmp_path / "embeddings.csv"
    names = ["b", "B", "a,", "\U0001f9a9", "\uffee", "é"]
    write(part, dict.fromkeys([*names, "left"], VECTOR))
    with part.open("ab") as file:
        file.write(format_row("b", -VECTOR))
    with target.open("wb") as file:
        assert copy_rows(part, {*names, "never asked"}, file, 3) == 6
    read = read_part(target, 3)
    assert list(read) == sorted(names, key=str.encode)
    assert np.array_equal(read["b"], -VECTOR)
    assert target.read_bytes().count(b"\n") == 6


def test_parts_are_found_in_the_order_of_their_batches(tmp_path: Path) -> None:
    for number in (10, 2, 1_000_000):
        write(tmp_path / f"part-{number:06d}.csv", {})
    (tmp_path / "notes.csv").touch()
    assert [batch_of(part) for part in parts_in(tmp_path)] == [2, 10, 1_000_000]
