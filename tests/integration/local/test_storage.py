import base64
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import google_crc32c
import pytest
from google.api_core.exceptions import NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as google_storage

from deployments.local.errors import StackError
from deployments.local.processes.program import start
from deployments.local.storage.mirror import supports_attributes
from deployments.local.storage.server import program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    (folder / "Köln ✈").mkdir(parents=True)
    (folder / "a").mkdir()
    (folder / "plane.jpg").write_bytes(b"plane")
    (folder / "a" / "b.png").write_bytes(b"b")
    (folder / "a.png").write_bytes(b"a")
    (folder / "scan.bmp").write_bytes(b"scan")
    (folder / "notes.txt").write_bytes(b"notes")
    (folder / "empty.png").write_bytes(b"")
    (folder / "Köln ✈" / "100% 'old' + new?#.png").write_bytes(b"cathedral")
    return folder


@asynccontextmanager
async def served(
    folder: Path, state: Path, *, in_memory: bool = False
) -> AsyncIterator[google_storage.Bucket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = await start(
        program(
            port=port,
            pictures=folder,
            bucket="birdwalk",
            state_directory=state,
            log=state / "storage.log",
            in_memory=in_memory,
        )
    )
    client = google_storage.Client(
        project="local",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"http://127.0.0.1:{port}"},
    )
    try:
        yield client.bucket("birdwalk")
    finally:
        client.close()
        await process.stop()


def generations(bucket: google_storage.Bucket) -> dict[str, int]:
    return {blob.name: blob.generation for blob in bucket.list_blobs()}


@pytest.mark.parametrize("in_memory", [False, True])
async def test_the_folder_is_served_with_googles_metadata(
    folder: Path, tmp_path: Path, *, in_memory: bool
) -> None:
    async with served(folder, tmp_path / "state", in_memory=in_memory) as bucket:
        blobs = {blob.name: blob for blob in bucket.list_blobs(page_size=2)}
        assert len(blobs) == 7
        for name, blob in blobs.items():
            content = (folder / name).read_bytes()
            assert blob.download_as_bytes() == content
            assert blob.size == len(content)
            md5 = hashlib.md5(content, usedforsecurity=False).digest()
            assert blob.md5_hash == base64.b64encode(md5).decode()
            crc32c = google_crc32c.value(content).to_bytes(4, "big")
            assert blob.crc32c == base64.b64encode(crc32c).decode()
            assert blob.generation > 0
        assert blobs["plane.jpg"].content_type == "image/jpeg"
        assert blobs["Köln ✈/100% 'old' + new?#.png"].content_type == "image/png"
        assert blobs["notes.txt"].content_type.startswith("text/plain")


@pytest.mark.parametrize("in_memory", [False, True])
async def test_objects_are_listed_in_utf8_order(
    folder: Path, tmp_path: Path, *, in_memory: bool
) -> None:
    async with served(folder, tmp_path / "state", in_memory=in_memory) as bucket:
        names = [blob.name for blob in bucket.list_blobs(page_size=3)]
        assert names == sorted(names, key=str.encode)
        assert names.index("a.png") < names.index("a/b.png")


@pytest.mark.parametrize("in_memory", [False, True])
async def test_objects_are_put_overwritten_and_deleted(
    folder: Path, tmp_path: Path, *, in_memory: bool
) -> None:
    async with served(folder, tmp_path / "state", in_memory=in_memory) as bucket:
        before = generations(bucket)
        bucket.blob("new/bird.png").upload_from_string(b"bird", content_type="image/png")
        bucket.blob("plane.jpg").upload_from_string(b"other plane", content_type="image/jpeg")
        bucket.blob("a.png").delete()
        after = generations(bucket)
        assert after.keys() == before.keys() - {"a.png"} | {"new/bird.png"}
        assert after["plane.jpg"] > before["plane.jpg"]
        assert after["scan.bmp"] == before["scan.bmp"]
        assert bucket.blob("plane.jpg").download_as_bytes() == b"other plane"
        with pytest.raises(NotFound):
            bucket.blob("plane.jpg", generation=before["plane.jpg"]).download_as_bytes()
        assert (folder / "plane.jpg").read_bytes() == b"plane"
        assert (folder / "a.png").exists()


async def test_unchanged_files_keep_their_generation_over_a_restart(
    folder: Path, tmp_path: Path
) -> None:
    if not supports_attributes(tmp_path):
        pytest.skip("files here carry no extended attributes")
    async with served(folder, tmp_path / "state") as bucket:
        before = generations(bucket)
    (folder / "a.png").write_bytes(b"changed")
    os.utime(folder / "a.png")
    async with served(folder, tmp_path / "state") as bucket:
        after = generations(bucket)
    assert after.pop("a.png") > before.pop("a.png")
    assert after == before


async def test_a_picture_type_go_does_not_know_has_its_content_type(
    folder: Path, tmp_path: Path
) -> None:
    if not supports_attributes(tmp_path):
        pytest.skip("files here carry no extended attributes")
    async with served(folder, tmp_path / "state") as bucket:
        assert bucket.get_blob("scan.bmp").content_type == "image/bmp"


@pytest.mark.parametrize(
    "name", ["../up.png", "a/../../up.png", "n" * 1024, "a.png/inside.png", "line\nbreak.png", "//"]
)
async def test_in_memory_any_object_name_works(folder: Path, tmp_path: Path, name: str) -> None:
    async with served(folder, tmp_path / "state", in_memory=True) as bucket:
        bucket.blob(name).upload_from_string(b"content", content_type="image/png")
        assert bucket.blob(name).download_as_bytes() == b"content"
        assert name in generations(bucket)


async def test_an_empty_folder_is_an_empty_bucket(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    async with served(empty, tmp_path / "state") as bucket:
        assert bucket.exists()
        assert generations(bucket) == {}


async def test_a_missing_folder_is_said_before_a_server_runs(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="There is no folder"):
        async with served(tmp_path / "nowhere", tmp_path / "state"):
            pass


async def test_it_is_not_ready_until_it_serves_its_bucket(folder: Path, tmp_path: Path) -> None:
    def ready(bucket: str, port: int) -> Awaitable[bool]:
        other = tmp_path / "other"
        return program(
            port=port, pictures=folder, bucket=bucket, state_directory=other, log=other
        ).ready()

    async with served(folder, tmp_path / "state") as bucket:
        port = int(bucket.client._connection.API_BASE_URL.rpartition(":")[2])
        assert await ready("birdwalk", port)
        assert not await ready("another", port)
    assert not await ready("birdwalk", port)


async def test_a_thousand_requests_are_answered(folder: Path, tmp_path: Path) -> None:
    """The wheel's own class stops answering after 365."""
    async with served(folder, tmp_path / "state") as bucket:
        for _ in range(1000):
            assert bucket.blob("plane.jpg").exists()
