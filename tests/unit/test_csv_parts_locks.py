"""A part has one writer at a time, and none that dies keeps it."""

import asyncio
import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.core import csv_parts
from tasks.core.csv_parts import PartWriter, open_part, read_part
from tasks.core.errors import PartInUse
from tasks.core.types import Vector

VECTOR: Vector = np.array([0.1, -0.2, 3e-9], dtype=np.float32)

HOLD = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


async def test_a_part_has_one_writer_and_the_next_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_parts, "SECONDS_TO_WAIT", 5.0)
    path = tmp_path / "part.csv"
    with PartWriter(path, 3) as writer:
        second = asyncio.create_task(open_part(path, 3))
        await asyncio.sleep(0.01)
        assert not second.done()
        writer.append("first", VECTOR)
    with await second as writer:
        assert writer.finished == {"first"}
        writer.append("second", VECTOR)
    assert read_part(path, 3).keys() == {"first", "second"}


async def test_a_part_that_stays_in_use_is_refused_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_parts, "SECONDS_TO_WAIT", 0.0)
    path = tmp_path / "part.csv"
    with PartWriter(path, 3) as writer:
        writer.append("whole", VECTOR)
        # What another writer would take for a torn row.
        torn = b'"torn",0.1'
        with path.open("ab") as file:
            file.write(torn)
        with pytest.raises(PartInUse, match=r"part\.csv is being written by another process"):
            await open_part(path, 3)
        assert path.read_bytes().endswith(torn)


def test_a_writer_that_is_killed_gives_the_part_free(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    path.touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline()
    with pytest.raises(PartInUse):
        PartWriter(path, 3)
    holder.kill()
    holder.communicate()
    with PartWriter(path, 3) as writer:
        writer.append("mine", VECTOR)


@pytest.mark.parametrize("lacks", ["platform", "file system"])
def test_where_nothing_can_be_locked_the_log_says_so(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", csv_parts.__name__)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if lacks == "platform":
        monkeypatch.setattr(csv_parts, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    with PartWriter(tmp_path / "part.csv", 3) as writer:
        writer.append("a", VECTOR)
    assert "Nothing keeps two processes from writing" in caplog.text
    assert read_part(tmp_path / "part.csv", 3).keys() == {"a"}
