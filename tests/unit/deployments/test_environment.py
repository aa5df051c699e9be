import subprocess
import sys
from pathlib import Path

import pytest

from deployments import environment
from deployments.environment import ROOT, main, unfit


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_a_python_that_cannot_run_birdwalk_is_named_with_the_way_out(
    version: tuple[int, int],
) -> None:
    message = unfit(version)
    assert message is not None
    assert f"this is {version[0]}.{version[1]} ({sys.executable})" in message
    assert "PYTHON=python3.12" in message


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_the_pythons_of_the_lock_are_fit(version: tuple[int, int]) -> None:
    assert unfit(version) is None


def test_a_whole_environment_is_kept_and_stamped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    commands: list[list[str]] = []
    monkeypatch.setattr(environment, "_run", commands.append)
    assert main([str(tmp_path / "stamp"), "a.txt", "b.txt"]) == 0
    assert [command[3] for command in commands] == ["install", "install", "check"]
    assert commands[0][-5:] == ["--require-hashes", "-r", "a.txt", "-r", "b.txt"]
    assert (tmp_path / "stamp").exists()


def test_the_locked_versions_are_installed_whatever_came_out_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An old pip resolves a package with extras apart from its pin without them, to the newest.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    commands: list[list[str]] = []
    monkeypatch.setattr(environment, "_run", commands.append)
    assert main([str(tmp_path / "stamp"), "a.txt"]) == 0
    assert "--no-deps" in commands[0]


def test_an_environment_whose_python_is_gone_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(tmp_path / "gone")
    commands: list[list[str]] = []
    monkeypatch.setattr(environment, "_run", commands.append)
    assert main([str(tmp_path / "stamp")]) == 0
    assert commands[0] == [sys.executable, "-m", "venv", "--clear", str(tmp_path)]


def test_a_failed_installation_is_said_and_leaves_no_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(command: list[str]) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(environment, "_run", fail)
    assert main([str(tmp_path / "stamp")]) == 1
    assert "`-m venv --clear` failed" in capsys.readouterr().err
    assert not (tmp_path / "stamp").exists()


def test_birdwalk_itself_is_installed_without_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    commands: list[list[str]] = []
    monkeypatch.setattr(environment, "_run", commands.append)
    assert main([str(tmp_path / "stamp"), "a.txt"]) == 0
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(commands[1])
    assert commands[1][-2:] == ["--editable", str(ROOT)]


def test_the_environment_has_the_command() -> None:
    version = subprocess.run(
        [Path(sys.executable).with_name("birdwalk"), "--version"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f'version = "{version.strip()}"' in (ROOT / "pyproject.toml").read_text()
