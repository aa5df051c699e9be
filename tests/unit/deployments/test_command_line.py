"""The command `birdwalk`: what it imports, what it offers, and how it ends."""

import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from deployments import index_commands
from deployments.command_line import COMMANDS, FLOWS, birdwalk, main
from flows.check_index import check_index
from flows.drop_space import drop_space
from flows.embed_images import embed_images
from flows.find_duplicates import find_duplicates
from flows.find_similar import find_similar
from flows.rollback import rollback
from tasks.core.errors import GateFailed, IndexDrifted

# The arguments are read from sys.argv here too, as from a terminal.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

HEAVY = {"asyncpg", "cv2", "fastapi", "google", "grpc", "numpy", "pandas", "PIL", "prefect"}
OF_FLOWS: Mapping[str, Any] = {
    "sync": embed_images,
    "plan": embed_images,
    "similar": find_similar,
    "duplicates": find_duplicates,
    "check": check_index,
    "rollback": rollback,
    "drop-space": drop_space,
}
PROGRAMS = {"sync", "plan", "similar", "duplicates", "check", "spaces", "status"}
"""Commands that print JSON for programs."""

# What Python imports as it starts is not the command's: some packages add namespaces then.
REPORT = """
import sys
started = set(sys.modules)
from deployments.command_line import main
try:
    main()
finally:
    made = {name.partition(".")[0] for name in sys.modules.keys() - started}
    print(*sorted(made), file=sys.stderr)
"""


def imported(*arguments: str, **environment: str) -> tuple[int, set[str]]:
    """Return the exit status of a command, and the packages that it imported."""
    finished = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return finished.returncode, set(finished.stderr.splitlines()[-1].split())


def ended(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the exit status of a command of this process."""
    monkeypatch.setattr(sys, "argv", ["birdwalk", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


@dataclass
class Flows:
    """Stands for the flows: remembers what it was asked, and answers."""

    answer: Any = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def __call__(self, flow: str, parameters: dict[str, Any], _alone: object) -> Any:
        self.asked.append((flow, parameters))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> Flows:
    answering = Flows()
    monkeypatch.setattr(index_commands, "_outcome", answering)
    return answering


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",)], ids=" ".join)
def test_help_and_version_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    status, packages = imported(*arguments)
    assert status == 0
    assert "cyclopts" in packages
    assert packages & (HEAVY | {"pydantic"}) == set()


@pytest.mark.parametrize("command", [*OF_FLOWS, "spaces", "gallery"])
def test_the_help_of_a_command_imports_neither_prefect_nor_google(command: str) -> None:
    status, packages = imported(command, "--help")
    assert status == 0
    assert packages & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [("sync", "--bukket", "b"), ("similar", "--count", "101"), ("similar", "flamingo")],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_before_prefect_is_imported(arguments: tuple[str, ...]) -> None:
    status, packages = imported(*arguments)
    assert status == 2
    assert "prefect" not in packages


def test_a_question_without_a_prefect_server_does_not_import_prefect() -> None:
    nowhere = "postgresql://postgres@127.0.0.1:9/birdwalk"
    unknown = {"PREFECT_HOME": "/nowhere", "BIRDWALK_DATABASE_URL": nowhere}
    status, packages = imported("similar", "--image-id", "a.png", **unknown)
    assert status == 1
    assert "asyncpg" in packages
    assert "prefect" not in packages


def test_the_list_names_every_command_and_says_what_it_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert ended(["--help"], monkeypatch) == 0
    listed = capsys.readouterr().out
    for command in COMMANDS:
        assert f"│ {command} " in listed
    for command in OF_FLOWS.keys() - {"plan"}:
        module, name = FLOWS[command].split(":")
        flow = getattr(sys.modules[module], name)
        assert OF_FLOWS[command] is flow
        assert (inspect.getdoc(flow.fn) or "?").splitlines()[0] in listed


@pytest.mark.parametrize("command", OF_FLOWS)
def test_a_command_has_the_parameters_of_its_flow(command: str) -> None:
    function = getattr(index_commands, command.replace("-", "_"))
    shown = inspect.signature(function).parameters
    wanted = dict(inspect.signature(OF_FLOWS[command].fn).parameters)
    wanted.pop("plan_only", None)
    assert [name for name in shown if name != "json"] == list(wanted)
    assert {name: shown[name].default for name in wanted} == {
        name: parameter.default for name, parameter in wanted.items()
    }


@pytest.mark.parametrize("command", OF_FLOWS)
def test_a_parameter_is_explained_as_in_its_flow(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert ended([command, "--help"], monkeypatch) == 0
    page = capsys.readouterr().out
    schema = OF_FLOWS[command].parameters.model_dump()
    for name, described in schema["properties"].items():
        if name != "plan_only":
            assert " ".join(described["description"].split()) in page


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_offered_where_a_program_would_read(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended([command, "--help"], monkeypatch) == 0
    assert ("--json " in capsys.readouterr().out) == (command in PROGRAMS)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_has_one_spelling(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ended([command, "--help"], monkeypatch)
    rows = [row.strip("│ *") for row in capsys.readouterr().out.splitlines()]
    spellings = [row.split("  ")[0] for row in rows if row.startswith("-")]
    assert spellings
    assert [row for row in spellings if " -" in row or "(" in row] == []


@pytest.mark.parametrize(("command", "plan_only"), [("sync", False), ("plan", True)])
def test_sync_and_plan_are_one_flow(
    command: str,
    flows: Flows,
    monkeypatch: pytest.MonkeyPatch,
    *,
    plan_only: bool,
) -> None:
    flows.answer = KeyboardInterrupt()
    ended([command, "--bucket", "b", "--max-price", "0.5"], monkeypatch)
    ((flow, parameters),) = flows.asked
    assert flow == "embed_images"
    assert (parameters["bucket"], parameters["max_price"]) == ("b", 0.5)
    assert parameters["plan_only"] is plan_only
    assert set(parameters) == set(inspect.signature(embed_images.fn).parameters)


def test_a_failure_is_a_message_and_ends_with_1(
    flows: Flows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.answer = GateFailed("The index was not published.")
    assert ended(["sync", "--bucket", "b"], monkeypatch) == 1
    captured = capsys.readouterr()
    assert captured.err == "GateFailed: The index was not published.\n"
    assert captured.out == ""


def test_ctrl_c_says_what_is_kept_and_ends_with_130(
    flows: Flows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.answer = KeyboardInterrupt()
    assert ended(["sync", "--bucket", "b"], monkeypatch) == 130
    assert "What was embedded is kept" in capsys.readouterr().err


@pytest.mark.parametrize(("in_order", "status"), [(True, 0), (False, 1)])
def test_a_program_reads_whether_an_index_is_in_order(
    flows: Flows,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    *,
    in_order: bool,
) -> None:
    flows.answer = "All is well." if in_order else IndexDrifted("Two are missing.")
    assert ended(["check", "--json"], monkeypatch) == status
    captured = capsys.readouterr()
    said = "All is well." if in_order else "Two are missing."
    assert json.loads(captured.out) == {"in_order": in_order, "found": said}
    assert captured.err == ""


@pytest.mark.parametrize(
    ("environment", "files", "known"),
    [
        ({}, {}, False),
        ({"PREFECT_API_URL": ""}, {"prefect.toml": ""}, False),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, {}, True),
        ({}, {"pyproject.toml": "[project]\n"}, False),
        ({}, {"prefect.toml": '[api]\nurl = "http://127.0.0.1:9/api"\n'}, True),
        ({}, {"profiles.toml": 'active = "x"\n[profiles.x]\nPREFECT_HOME = "/x"\n'}, False),
    ],
)
def test_a_prefect_server_is_known_from_where_prefect_reads_it(
    environment: dict[str, str], files: dict[str, str], tmp_path: Any, *, known: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    asked = "from deployments.index_commands import knows_a_prefect_server as k; print(k())"
    finished = subprocess.run(
        [sys.executable, "-c", asked],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PREFECT_HOME": str(tmp_path), **environment},
    )
    assert finished.stdout == f"{known}\n"


def test_the_app_can_be_made_without_a_terminal() -> None:
    assert birdwalk().name == ("birdwalk",)
