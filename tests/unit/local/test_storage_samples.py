from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from deployments.local.errors import StackError
from deployments.local.storage import samples
from deployments.local.storage.samples import DEMO_QUERY, SIDE, ensure_samples, list_samples


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_samples(tmp_path_factory.mktemp("a folder with spaces") / "samples")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_KINDS", {"birds": "BIRD, DUCK"})


def test_there_are_eighty_pictures_in_ten_kinds_and_no_kind_stands_alone(directory: Path) -> None:
    kinds = Counter(sample.kind for sample in list_samples(directory))
    assert kinds.total() >= 80
    assert len(kinds) >= 10
    assert {"planes", "birds"} <= kinds.keys()
    assert min(kinds.values()) >= 6


def test_the_demo_query_is_a_plane_among_the_samples(directory: Path) -> None:
    assert DEMO_QUERY.startswith("planes/")
    assert DEMO_QUERY in {sample.name for sample in list_samples(directory)}


def test_every_sample_is_an_opaque_512_pixel_picture_of_its_extension(directory: Path) -> None:
    for sample in list_samples(directory):
        with Image.open(sample.path) as picture:
            assert picture.size == (SIDE, SIDE)
            assert picture.mode == "RGB"
            assert picture.format == {".png": "PNG", ".jpg": "JPEG"}[sample.path.suffix]


def test_no_two_samples_are_the_same_picture(directory: Path) -> None:
    contents = Counter(sample.path.read_bytes() for sample in list_samples(directory))
    assert contents.most_common(1)[0][1] == 1


def test_the_licence_of_the_pictures_lies_beside_them_and_is_not_a_sample(directory: Path) -> None:
    assert "CC BY-SA 4.0" in (directory / "LICENSE.txt").read_text()
    assert all(sample.path.suffix in {".png", ".jpg"} for sample in list_samples(directory))


@pytest.mark.usefixtures("few")
def test_the_same_recipe_draws_the_same_bytes(tmp_path: Path) -> None:
    first = list_samples(ensure_samples(tmp_path / "first"))
    second = list_samples(ensure_samples(tmp_path / "second"))
    assert [sample.name for sample in first] == [sample.name for sample in second]
    assert [s.path.read_bytes() for s in first] == [s.path.read_bytes() for s in second]


@pytest.mark.usefixtures("few")
def test_samples_are_drawn_once(tmp_path: Path) -> None:
    directory = ensure_samples(tmp_path / "samples")
    before = directory.stat().st_ino
    assert ensure_samples(directory) == directory
    assert directory.stat().st_ino == before


@pytest.mark.usefixtures("few")
def test_a_newer_recipe_replaces_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = ensure_samples(tmp_path / "samples")
    monkeypatch.setattr(samples, "_KINDS", {"cats": "CAT"})
    monkeypatch.setattr(samples, "_recipe_stamp", lambda: "newer")
    ensure_samples(directory)
    assert [sample.name for sample in list_samples(directory)] == ["cats/cat.png"]


@pytest.mark.usefixtures("few")
def test_a_drawing_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_KINDS", {"birds": "BIRD, NO SUCH BIRD"})
    with pytest.raises(KeyError, match="NO SUCH BIRD"):
        ensure_samples(tmp_path / "samples")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("few")
def test_a_second_process_that_was_faster_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_all = samples._draw_all
    theirs = []

    def draw_while_another_finishes(directory: Path) -> None:
        draw_all(directory)
        draw_all(tmp_path / "samples")
        theirs.append((tmp_path / "samples").stat().st_ino)

    monkeypatch.setattr(samples, "_draw_all", draw_while_another_finishes)
    assert ensure_samples(tmp_path / "samples").stat().st_ino == theirs[0]
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]


def test_a_folder_of_somebody_elses_files_is_refused_and_kept(tmp_path: Path) -> None:
    photo = tmp_path / "mine.jpg"
    photo.write_bytes(b"mine")
    with pytest.raises(StackError, match="not birdwalk's samples"):
        ensure_samples(tmp_path)
    assert photo.read_bytes() == b"mine"
