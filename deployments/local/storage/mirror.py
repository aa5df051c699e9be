"""Keep a directory that fake-gcs-server serves as a bucket equal to a folder of pictures.

The folder is only read. Its files are copied, because the server keeps what it knows of an object
(hashes, content type, generation) in an extended attribute of the object's file, follows no
symbolic link, and would reach the user's own file through a hard link.
"""

import base64
import hashlib
import json
import mimetypes
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import google_crc32c

from deployments.local.errors import StackError

LARGEST_FILE = 64 * 2**20
"""Bytes; a larger file is left out. The model refuses pictures over 20 MB: this is no picture."""

# fake-gcs-server/internal/backend/metadata_xattr.go and, for the JSON's fields, object.go.
_ATTRIBUTE = "user.metadata"
_CONTENT_TYPES = mimetypes.MimeTypes()
for _extension in ("avif", "heic", "webp"):  # newer than Python 3.11's table
    _CONTENT_TYPES.add_type(f"image/{_extension}", f".{_extension}")


@dataclass(frozen=True, slots=True)
class Mirror:
    """What a mirrored folder holds.

    Attributes:
        objects: files that the bucket serves.
        copied: files that were new or changed since the last time, and were copied now.
        left_out: files that are not served, each with the reason.
    """

    objects: int
    copied: int
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _SourceFile:
    name: str
    path: Path
    size: int
    modified_ns: int

    @property
    def generation(self) -> int:
        """Microseconds since 1970, as Google's are: a file that stays the same keeps its own."""
        return max(self.modified_ns // 1000, 1)


def supports_attributes(directory: Path) -> bool:
    """Tell whether files in a directory can carry the attributes the server looks for."""
    if sys.platform != "linux":  # Python cannot set them on macOS
        return False
    with TemporaryDirectory(dir=directory) as probe:
        try:
            os.setxattr(probe, _ATTRIBUTE, b"{}")
        except OSError:
            return False
    return True


def mirror_folder(folder: Path, root: Path, bucket: str, *, attributes: bool) -> Mirror:
    """Make a bucket equal to a folder, copying only what is new or changed.

    Hidden files and folders (names that begin with a dot) are not part of it. A file is changed
    when its size or modification time is another; that time also gives the object's generation,
    so that generations outlive a restart.

    Args:
        folder: the user's pictures, with sub folders; never written to.
        root: what the server serves, one folder a bucket; whatever else is in it is deleted.
        bucket: the folder in the root that becomes the copy.
        attributes: give each copy the attribute that the server's filesystem backend reads.

    Raises:
        StackError: the folder is not there, or the copy could not be written.
    """
    if not folder.is_dir():
        raise StackError(
            f"There is no folder {folder}. Name a folder of pictures, as in IMAGES=~/photos."
        )
    directory = root / bucket
    try:
        sources, left_out = _scan(folder, own=root.resolve())
        _remove_all_but({directory / source.name for source in sources}, root)
        directory.mkdir(parents=True, exist_ok=True)
        changed = [
            source
            for source in sources
            if not _is_current(source, directory / source.name, attributes=attributes)
        ]
        for source in changed:
            _copy(source, directory / source.name, root / ".incoming", attributes=attributes)
    except OSError as error:
        raise StackError(
            f"Could not copy the pictures of {folder} to {directory}: {error}. "
            "The local bucket needs as much disk space as the folder."
        ) from error
    return Mirror(objects=len(sources), copied=len(changed), left_out=tuple(left_out))


def content_type(name: str) -> str:
    """Guess an object's content type from its name, as Google's upload tools do."""
    guess, encoding = _CONTENT_TYPES.guess_type(name, strict=False)
    return guess if guess and not encoding else "application/octet-stream"


def _scan(folder: Path, own: Path) -> tuple[list[_SourceFile], list[str]]:
    sources = []
    left_out = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name).resolve() != own
        ]
        for path in (Path(parent, file) for file in files if not file.startswith(".")):
            if reason := _reason_to_leave_out(path):
                left_out.append(f"{os.fsencode(path).decode(errors='replace')}: {reason}")
            else:
                status = path.stat()
                name = path.relative_to(folder).as_posix()
                sources.append(_SourceFile(name, path, status.st_size, status.st_mtime_ns))
    return sources, sorted(left_out)


def _reason_to_leave_out(path: Path) -> str | None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not path.is_file():
        return "it is no regular file"
    if not os.access(path, os.R_OK):
        return "it may not be read"
    if path.stat().st_size > LARGEST_FILE:
        return f"it is larger than {LARGEST_FILE // 2**20} MiB"
    return None


def _is_current(source: _SourceFile, target: Path, *, attributes: bool) -> bool:
    try:
        status = target.stat()
        generation = _generation(target) if attributes else source.generation
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns, generation) == (
        source.size,
        source.modified_ns,
        source.generation,
    )


def _generation(target: Path) -> int:
    if sys.platform != "linux":
        raise NotImplementedError(sys.platform)
    return int(json.loads(os.getxattr(target, _ATTRIBUTE))["Generation"])


def _copy(source: _SourceFile, target: Path, incoming: Path, *, attributes: bool) -> None:
    """Copy a file whole or not at all."""
    content = source.path.read_bytes()
    incoming.write_bytes(content)
    if attributes and sys.platform == "linux":
        os.setxattr(incoming, _ATTRIBUTE, _attributes(source, content))
    os.utime(incoming, ns=(source.modified_ns, source.modified_ns))
    target.parent.mkdir(parents=True, exist_ok=True)
    incoming.replace(target)


def _attributes(source: _SourceFile, content: bytes) -> bytes:
    """Say what the server would have written into the attribute had the object been uploaded."""
    md5 = _base64(hashlib.md5(content, usedforsecurity=False).digest())
    modified = datetime.fromtimestamp(source.generation / 1e6, UTC)
    timestamp = modified.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    attributes = {
        "StorageClass": "STANDARD",
        "ContentType": content_type(source.name),
        "Crc32c": _base64(google_crc32c.value(content).to_bytes(4, "big")),
        "Md5Hash": md5,
        "Etag": md5,
        "Created": timestamp,
        "Updated": timestamp,
        "Generation": source.generation,
    }
    return json.dumps(attributes).encode()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _remove_all_but(kept: set[Path], root: Path) -> None:
    for parent, folders, files in os.walk(root, topdown=False):
        for file in files:
            path = Path(parent, file)
            if path not in kept:
                path.unlink()
        for name in folders:
            path = Path(parent, name)
            if not any(path.iterdir()):
                path.rmdir()
