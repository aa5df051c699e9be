"""Write files that other processes may read, write and remove meanwhile."""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from tasks.core.errors import ArtifactError

SHEET = re.compile(r"[0-9a-f]{16}\.png")
HALF_WRITTEN = re.compile(r"\.[0-9a-f]{16}-[0-9a-f]{32}\.png")
SECONDS_OF_WRITING = 3600.0
"""One that is older was left by a process that died."""

logger = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file to write, which takes the place of `path` once the block has ended well.

    Raises:
        ArtifactError: it cannot be written; what was there stays.
    """
    made = path.with_name(f".{path.stem}-{uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield made
        made.replace(path)
    except OSError as error:
        raise ArtifactError(
            f"Cannot write {path}: {error.strerror}. Free space there, or point"
            " BIRDWALK_DATA_DIRECTORY at a disk with room, and run again."
        ) from error
    finally:
        with suppress(OSError):
            made.unlink()


def keep_newest_sheets(directory: Path, kept: int) -> None:
    """Remove all sheets of a directory but the newest; files of other names are not looked at.

    Several processes may do so at once. What cannot be removed is left for the next time.
    """
    sheets: list[tuple[float, Path]] = []
    left: list[Path] = []
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            if SHEET.fullmatch(path.name):
                sheets.append((path.stat().st_mtime, path))
            elif HALF_WRITTEN.fullmatch(path.name):
                old = path.stat().st_mtime < time.time() - SECONDS_OF_WRITING
                left += [path] if old else []
    for path in left + [path for _, path in sorted(sheets, reverse=True)[kept:]]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.debug("%s was not removed: %s", path, error)
