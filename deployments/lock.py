"""Write the lock: every version birdwalk runs with, hashed, from what pyproject.toml asks for.

Three files, installed together: requirements.txt is what a worker on Google Cloud needs,
requirements-local.txt what the local stack adds, requirements-dev.txt what tests and lint add.
They are resolved as one, for every Python and system that pyproject.toml allows, so they agree.
"""

import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]

# Each file's options ask for all that the files before it hold, and more.
_FILES = {
    "requirements.txt": (),
    "requirements-local.txt": ("--extra", "local"),
    "requirements-dev.txt": ("--extra", "local", "--group", "dev"),
}


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked requirement.

    Attributes:
        name: the package.
        marker: where it is needed, as in `sys_platform == 'darwin'`; empty for everywhere.
        text: the whole requirement with its hashes, as pip reads it.
    """

    name: str
    marker: str
    text: str


def read_pins(text: str) -> list[Pin]:
    """Read a requirements file in which each requirement begins a line and its hashes are indented.

    Raises:
        ValueError: something in it is no requirement with `==`.
    """
    pins = []
    for block in re.split(r"\n(?=\S)", text.strip("\n")):
        if block.startswith("#"):
            continue
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==[^\s;]+(?: ; ([^\\\n]*))?", block)
        if match is None:
            raise ValueError(f"Not a pinned requirement: {block.splitlines()[0]!r}")
        pins.append(Pin(match[1], (match[2] or "").strip(), block))
    return pins


def added(pins: list[Pin], before: list[Pin]) -> list[Pin]:
    """Return the pins that are not installed already wherever they are needed."""
    everywhere = {pin.name for pin in before if not pin.marker}
    known = {(pin.name, pin.marker) for pin in before}
    return [
        pin for pin in pins if pin.name not in everywhere and (pin.name, pin.marker) not in known
    ]


def write_lock(root: Path) -> None:
    """Resolve the newest versions that pyproject.toml in a directory allows; write the files there.

    Raises:
        subprocess.CalledProcessError: uv could not be installed, or found no solution; it has said
            why on standard error.
    """
    with TemporaryDirectory() as scratch:
        uv = _install_uv(Path(scratch) / "venv")
        constraints = Path(scratch) / "all.txt"
        constraints.write_text(_compile(uv, root, _FILES["requirements-dev.txt"]))
        before: list[Pin] = []
        for name, options in _FILES.items():
            pins = read_pins(_compile(uv, root, (*options, "--constraints", str(constraints))))
            header = f"# {name}: made by `make lock` from pyproject.toml.\n"
            text = "".join(f"{pin.text}\n" for pin in added(pins, before))
            (root / name).write_text(header + text, encoding="utf-8")
            before += pins


def _install_uv(directory: Path) -> Path:
    venv.create(directory, with_pip=True)
    _run([directory / "bin" / "python", "-m", "pip", "install", "--quiet", "uv"], directory)
    return directory / "bin" / "uv"


def _compile(uv: Path, root: Path, options: tuple[str, ...]) -> str:
    command: list[str | Path] = [
        uv,
        "pip",
        "compile",
        "pyproject.toml",
        "--quiet",
        "--universal",
        *options,
    ]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    return _run(command, root)


def _run(command: list[str | Path], directory: Path) -> str:
    answer = subprocess.run(  # noqa: S603 - fixed commands of our own
        command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True
    )
    return answer.stdout


if __name__ == "__main__":
    write_lock(ROOT)
    sys.stdout.write(f"Wrote {', '.join(_FILES)}.\n")
