r"""Embeddings as CSV: image_id, then one column a number; no header, UTF-8, \n ends a row.

The image_id always stands in quotes (doubled inside), so that any name survives. Numbers are the
shortest text that reads back as the same float32. A row is written whole or, after a crash, found
torn at the end of its file and dropped.
"""

import asyncio
import errno
import logging
import os
import re
import time
from collections.abc import Container, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import orjson

from tasks.core.errors import ArtifactError, PartInUse
from tasks.core.types import Vector

try:
    import fcntl
except ImportError:  # a platform without locks of whole files, such as Windows
    fcntl = None  # type: ignore[assignment]  # its absence is asked for where it is used

SECONDS_TO_WAIT = 30.0
"""How long a part may be another process's: a worker whose run is over stops within seconds."""

WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system answers that has no locks, such as some network mounts."""

ROW = re.compile(rb'"((?:[^"]|"")*)",([-+.,0-9eE]+)\n')


def format_row(image_id: str, vector: Vector) -> bytes:
    """Return one CSV row with its line end."""
    name = image_id.encode().replace(b'"', b'""')
    numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
    return b'"%b",%b\n' % (name, numbers[1:-1])


def parse_rows(data: bytes, dimension: int) -> Iterator[tuple[str, Vector, int]]:
    """Yield (image_id, vector, end offset) of each whole row; stop at the first that is not."""
    end = 0
    while match := ROW.match(data, end):
        end = match.end()
        numbers = orjson.loads(b"[%b]" % match[2])
        if len(numbers) != dimension:
            raise ArtifactError(
                f"A CSV row has {len(numbers)} numbers where {dimension} were expected: it belongs"
                " to another embedding space. Remove the file and run again."
            )
        yield match[1].replace(b'""', b'"').decode(), np.array(numbers, dtype=np.float32), end


def read_part(path: Path, dimension: int) -> dict[str, Vector]:
    """Return the vectors of a part by image_id; a missing file is an empty part.

    Raises:
        ArtifactError: the part holds vectors of another dimension.
    """
    return {name: vector for name, vector, _ in read_rows(path, dimension)}


def read_rows(path: Path, dimension: int) -> Iterator[tuple[str, Vector, int]]:
    """Yield a part's rows as parse_rows does; a missing file is an empty part.

    Raises:
        ArtifactError: the part holds vectors of another dimension.
    """
    if path.exists():
        yield from parse_rows(path.read_bytes(), dimension)


async def open_part(path: Path, dimension: int, seconds: float | None = None) -> "PartWriter":
    """Return a part's writer once no other process writes it any more.

    Args:
        path: the part.
        dimension: of its vectors.
        seconds: how long it may be another process's; SECONDS_TO_WAIT where nothing is said.

    Raises:
        PartInUse: another process still writes it.
        ArtifactError: the file cannot be written.
    """
    deadline = time.monotonic() + (SECONDS_TO_WAIT if seconds is None else seconds)
    while True:
        try:
            return PartWriter(path, dimension)
        except PartInUse:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


class PartWriter:
    """Appends rows to a batch's CSV part, each at once, so that a killed batch keeps its rows.

    Opening it drops a torn last row; `finished` holds the image_ids that are already there. A
    part has one writer at a time, by a lock that the kernel frees when its process dies; on a
    platform or file system that has no such locks, the log says so.

    Raises:
        PartInUse: another writer has it.
        ArtifactError: the disk is full, or the file cannot be written.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            _lock(self._file, path)
            rows = list(parse_rows(path.read_bytes(), dimension))
            self.finished = frozenset(name for name, _, _ in rows)
            self._end = rows[-1][2] if rows else 0
            os.ftruncate(self._file, self._end)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, image_id: str, vector: Vector) -> None:
        """Write one row; a row that does not fit whole is taken back."""
        row = format_row(image_id, vector)
        try:
            written = 0
            while written < len(row):
                written += os.pwrite(self._file, row[written:], self._end + written)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise _cannot_write(self._path, error) from error
        self._end += written

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)


def _lock(file: int, path: Path) -> None:
    if fcntl is None:
        _warn_of_no_lock(path, "this platform has no flock")
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PartInUse(
            f"{path} is being written by another process, which works for a run that is over. End"
            " that process and run again; what it wrote is kept."
        ) from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise _cannot_write(path, error) from error
        _warn_of_no_lock(path, error.strerror)


def _warn_of_no_lock(path: Path, why: str | None) -> None:
    logging.getLogger(__name__).warning(
        "Nothing keeps two processes from writing %s at once: %s.", path, why
    )


def copy_rows(part: Path, names: Container[str], target: BinaryIO, dimension: int) -> int:
    """Write those rows of a part whose image_id is wanted, ordered by it; return how many.

    Raises:
        ArtifactError: the part holds vectors of another dimension.
        OSError: the target cannot be written.
    """
    vectors = {name: vector for name, vector in read_part(part, dimension).items() if name in names}
    target.writelines(format_row(name, vectors[name]) for name in sorted(vectors))
    return len(vectors)


def parts_in(directory: Path) -> list[Path]:
    """Return the parts of a run's folder of parts, in the order of their batches."""
    return sorted(directory.glob("part-*.csv"))


def batch_of(part: Path) -> int:
    """Return the number of a part's batch."""
    return int(part.stem.removeprefix("part-"))


def _cannot_write(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"Cannot write {path}: {error.strerror}. Rows written so far are kept. Free space there,"
        " or point BIRDWALK_DATA_DIRECTORY at a disk with room, and run again."
    )
