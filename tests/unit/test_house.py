"""Claims about the repository itself."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deployments.lock import Pin, read_pins

ROOT = Path(__file__).parents[2]
LOCK = ("requirements.txt", "requirements-local.txt", "requirements-dev.txt")
SQL = sorted(path for path in (ROOT / "tasks").rglob("*.sql") if path.stem != "schema")
SETTINGS = ROOT / "tasks/core/settings.py"
LOCAL = ROOT / "deployments/local"

# Put together here so that this file does not name what it forbids.
FORBIDDEN = {
    "a package index": "|".join(("py" + r"pi\.", "python" + r"hosted\.", "index" + "-url")),
    "a home directory": r"/(root|home/\w+|Users/\w+)/",
    "a private key": "-----BEGIN " + "[A-Z ]*PRIVATE KEY",
}


def tracked() -> list[Path]:
    # The checkout may belong to somebody else, as in a container; git refuses that by default.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    paths = (ROOT / name for name in names.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def pins(name: str) -> list[Pin]:
    return read_pins((ROOT / name).read_text())


def shown(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what].encode())
    assert shown([path for path in tracked() if pattern.search(path.read_bytes())]) == []


def test_every_locked_requirement_has_its_hashes() -> None:
    for name in LOCK:
        for pin in pins(name):
            assert re.search(r"\\\n    --hash=sha256:[0-9a-f]{64}(\s|$)", pin.text), pin.name


def test_no_package_is_locked_by_two_of_the_files() -> None:
    names = [{pin.name for pin in pins(name)} for name in LOCK]
    assert len(set.union(*names)) == sum(map(len, names))


@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_the_lock_gives_what_pyproject_asks_for(python: str, system: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = (
        project["project"]["dependencies"],
        project["project"]["optional-dependencies"]["local"],
        project["dependency-groups"]["dev"],
    )
    environment = {"python_full_version": python, "python_version": python[:4]}
    environment |= {"sys_platform": system, "platform_python_implementation": "CPython"}
    locked: dict[str, str] = {}
    for name, requirements in zip(LOCK, asked, strict=True):
        for pin in pins(name):
            if not pin.marker or Marker(pin.marker).evaluate(environment):
                assert pin.name not in locked, "two versions for one machine"
                locked[pin.name] = pin.text.split("==")[1].split()[0]
        for requirement in map(Requirement, requirements):
            version = locked[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"run make lock: {requirement}"


def test_every_lint_rule_that_is_off_has_its_reason_on_the_line() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lint = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    codes = [line for line in lint.splitlines() if re.match(r'\s+"[A-Z]+\d*",', line)]
    assert len(codes) > 10
    assert [line for line in codes if not re.search(r",\s+# \w", line)] == []


def test_every_exception_from_a_check_has_its_reason_on_the_line_or_above() -> None:
    exception = re.compile(r"# (noqa|type: ignore)(?!(: [A-Z0-9, ]+ - |\[[a-z, -]+\]  # )\w)")
    found = []
    for path in (path for path in tracked() if path.suffix == ".py"):
        lines = path.read_text().splitlines()
        for above, line in zip(["", *lines], lines, strict=False):
            if exception.search(line) and "# " not in above and path != Path(__file__):
                found.append(f"{path.relative_to(ROOT)}: {line.strip()}")
    assert found == []


@pytest.mark.parametrize("path", SQL, ids=lambda path: path.stem)
def test_a_block_of_a_sql_file_is_a_name_a_comment_and_one_statement(path: Path) -> None:
    before, *blocks = re.split(r"^-- name: \w+\n", path.read_text(), flags=re.MULTILINE)
    assert before == ""
    for text in blocks:
        assert re.match(r"-- \S", text)
        quoted = r"--[^\n]*|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$"
        statement = re.sub(quoted, "", text, flags=re.DOTALL)
        assert statement.strip()
        assert ";" not in statement.strip().removesuffix(";")


def test_init_files_are_empty() -> None:
    files = [path for path in tracked() if path.name == "__init__.py"]
    assert len(files) > 5
    assert shown([path for path in files if path.read_bytes()]) == []


def reads_environment(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}
    return not names.isdisjoint({"environ", "environb", "getenv", "getenvb"})


def test_only_the_local_stack_and_who_looks_for_prefect_touch_the_environment() -> None:
    readers = {path for path in modules("tasks", "flows", "deployments") if reads_environment(path)}
    others = [path for path in readers if LOCAL not in path.parents]
    assert set(shown(others)) <= {"tasks/core/settings.py", "deployments/index_commands.py"}


def test_no_module_but_the_settings_looks_up_a_birdwalk_variable() -> None:
    lookup = re.compile(r"(environ(\.get|\.pop|\.setdefault)?|getenv)[\[(]\s*f?[\"']BIRDWALK_")
    paths = modules("tasks", "flows", "deployments")
    assert shown([path for path in paths if lookup.search(path.read_text())]) == []


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    help_ = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert re.findall(r"^make ([a-z-]+) +\w", help_, flags=re.MULTILINE) == targets
    assert phony is not None
    assert sorted(phony[1].split()) == sorted(targets)
