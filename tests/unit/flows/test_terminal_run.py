import sys
from typing import Annotated, Any

import pytest
from prefect import Flow
from pydantic import Field

from flows.terminal.run import run_flow_from_command_line
from tasks.core.errors import GateFailed, SpaceBusy

# The arguments are read from sys.argv here too, as from a terminal.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


async def walk(*, bird: str, steps: Annotated[int, Field(ge=1)] = 3) -> str:
    """Walk a bird.

    Args:
        bird: Which bird.
        steps: How far it goes.
    """
    if bird == "heron":
        raise GateFailed("The index was not published [bold]at all[/bold].")
    if bird == "parrot":
        raise GateFailed("Such as \x1b[31m\x9b2Ja.png,\nor [/x].")
    if bird == "crow":
        raise SpaceBusy("held by another run")
    if bird == "owl":
        raise KeyboardInterrupt
    if bird == "dodo":
        raise LookupError("a bug")
    return f"{bird} walks {steps}"


class UnrecordedFlow(Flow[..., Any]):
    """A flow that checks its parameters as Prefect does, and runs without a server."""

    async def __call__(self, **parameters: Any) -> Any:  # type: ignore[override]  # four overloads
        return await self.fn(**self.validate_parameters(parameters))


@pytest.fixture
def shown() -> list[str]:
    return []


def exit_code(arguments: list[str], shown: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "argv", ["walk", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_flow_from_command_line(UnrecordedFlow(walk), shown.append)
    return caught.value.code


def test_a_completed_flow_shows_its_outcome_and_exits_with_0(
    shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_code(["--bird", "=stork, 'old'", "--steps", "5"], shown, monkeypatch) == 0
    assert shown == ["=stork, 'old' walks 5"]


@pytest.mark.parametrize(
    ("bird", "message"),
    [
        ("heron", "GateFailed: The index was not published [bold]at all[/bold]."),
        ("parrot", "GateFailed: Such as ?[31m?2Ja.png,\nor [/x].\n"),
        ("crow", "SpaceBusy: held by another run"),
    ],
)
def test_a_failed_flow_says_why_and_exits_with_1(
    bird: str,
    message: str,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(["--bird", bird], shown, monkeypatch) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert shown == []


def test_ctrl_c_says_what_is_kept_and_exits_with_130(
    shown: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["--bird", "owl"], shown, monkeypatch) == 130
    assert "What was embedded is kept" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LookupError, match="a bug"):
        exit_code(["--bird", "dodo"], shown, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "bird"),
        (["--bird", "stork", "--steps", "far"], "steps"),
        (["--bird", "stork", "--steps", "0"], "steps"),
        (["--bird", "stork", "--wings", "2"], "wings"),
    ],
    ids=["missing", "no number", "out of bounds", "unknown"],
)
def test_a_bad_parameter_is_named_and_exits_with_2(
    arguments: list[str],
    named: str,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(arguments, shown, monkeypatch) == 2
    captured = capsys.readouterr()
    assert named in (captured.out + captured.err).lower()
    assert shown == []


def test_the_help_is_the_flows_docstring(
    shown: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["--help"], shown, monkeypatch) == 0
    text = capsys.readouterr().out
    assert "python -m flows.walk" in text
    assert "Walk a bird." in text
    assert "How far it goes." in text
