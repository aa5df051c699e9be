"""The commands that the README promises, on a machine where nothing runs yet."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.processes.identity import marked
from deployments.local.processes.state import read_state
from tests.acceptance.programs import ROOT, Program
from tests.support.buckets import picture

PICTURES = ("a plane.png", "flügel ✈.png", "über uns/zwei Vögel, ein Ast.png", "o'hare.png")


@pytest.fixture
def fresh_directory(environment: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for a stack of its own; Postgres is another user when we are root."""
    assert environment
    directory = Path(tempfile.mkdtemp(prefix="birdwalk demo ")).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def make_pictures(folder: Path) -> None:
    for number, name in enumerate(PICTURES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))


async def test_the_demo_shows_the_nearest_of_ones_own_picture_and_leaves_nothing_running(
    fresh_directory: Path,
) -> None:
    make_pictures(fresh_directory / "my pictures")
    demo = Program("birdwalk demo", {"BIRDWALK_DATA_DIRECTORY": str(fresh_directory)})
    pictures = str(fresh_directory / "my pictures")
    finished = await demo.run("--pictures", pictures, "--query", "flügel ✈.png")
    assert finished.status == 0, finished.err
    assert "Nearest to flügel ✈.png" in finished.out
    assert {name for name, _ in finished.neighbours} == set(PICTURES) - {"flügel ✈.png"}
    for kind in ("CSV", "picture"):
        assert (fresh_directory / finished.fact(kind)).stat().st_size > 1000
    assert "Everything that was started is stopped" in finished.out

    state = read_state(fresh_directory / "local")
    assert not state.up
    assert state.supervisor is None
    assert not [server.name for server in state.servers if server.process.alive()]
    assert marked(fresh_directory / "local") == []


async def test_a_folder_that_is_not_there_is_said_in_a_line(fresh_directory: Path) -> None:
    demo = Program("birdwalk demo", {"BIRDWALK_DATA_DIRECTORY": str(fresh_directory)})
    finished = await demo.run("--pictures", str(fresh_directory / "nowhere"))
    assert finished.status == 1
    assert finished.err.startswith(f"StackError: {fresh_directory}/nowhere is not a folder")
    assert len(finished.err.splitlines()) == 1
    assert marked(fresh_directory / "local") == []


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_help_lists_every_target_with_what_it_does() -> None:
    help_text = subprocess.run(
        ["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    listed = dict(re.findall(r"^make (\S+) +(\S.*)$", help_text, re.MULTILINE))
    assert {"demo", "up", "down", "status", "test", "lint", "bench", "lock"} <= listed.keys()
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == listed.keys()


@pytest.mark.parametrize(
    "name", ["deployments.local", "deployments.gallery", "deployments.automations"]
)
async def test_every_module_that_can_be_run_explains_itself(
    name: str, environment: pytest.MonkeyPatch
) -> None:
    assert environment
    finished = await Program(name, {}).run("--help")
    assert finished.status == 0
    assert f"python -m {name}" in finished.out
