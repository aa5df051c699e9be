"""Make .venv, and install locked requirements and birdwalk itself: what make does first.

Run by whatever Python the machine has: it needs no package, and an old Python can read it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    """Install requirements files and birdwalk into a virtual environment, and touch a stamp.

    Args:
        arguments: the stamp's path, whose folder is the environment; then the files' names.

    Returns:
        An exit status; what went wrong is on standard error.
    """
    stamp, requirements = Path(arguments[0]), arguments[1:]
    if trouble := unfit(sys.version_info[:2]):
        sys.stderr.write(trouble)
        return 1
    python = stamp.parent / "bin" / "python"
    try:
        if not _has_pip(python):
            _run([sys.executable, "-m", "venv", "--clear", str(stamp.parent)])
        sys.stdout.write(f"Installing {', '.join(requirements)} into {stamp.parent}\n")
        sys.stdout.flush()
        pip = [str(python), "-m", "pip"]
        # The files are whole, so nothing is left to resolve. pip before 23.3, which Python 3.11
        # brings, would look for the newest google-auth[pyopenssl] beside the locked google-auth.
        options = ["--quiet", "--disable-pip-version-check", "--no-input"]
        files = [option for name in requirements for option in ("-r", name)]
        _run([*pip, "install", *options, "--no-deps", "--require-hashes", *files])
        # Makes the command bin/birdwalk. The locked setuptools builds it, so no index is asked.
        itself = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT)]
        _run([*pip, "install", *options, *itself])
        _run([*pip, "check", "--disable-pip-version-check"])
    except subprocess.CalledProcessError as error:
        sys.stderr.write(
            f"Could not set {stamp.parent} up: `{' '.join(error.cmd[1:4])}` failed, and the lines "
            "above say why. On Debian and Ubuntu the package python3-venv must be installed.\n"
        )
        return 1
    stamp.touch()
    return 0


def unfit(version: tuple[int, ...]) -> str | None:
    """Say why a Python version cannot run birdwalk; None when it can."""
    if OLDEST <= version <= NEWEST:
        return None
    return (
        f"birdwalk runs on Python 3.11, 3.12 and 3.13; this is {version[0]}.{version[1]} "
        f"({sys.executable}). Name another one, as in: make demo PYTHON=python3.12\n"
    )


def _has_pip(python: Path) -> bool:
    """Tell whether the environment was made whole and still stands where it was made."""
    if not python.exists():
        return False
    return _status([str(python), "-c", "import pip"]) == 0


def _status(command: list[str]) -> int:
    return subprocess.run(command, check=False, capture_output=True).returncode  # noqa: S603 - fixed


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - fixed commands of our own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
