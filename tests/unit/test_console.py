"""What a terminal shows of names: as they are, and nothing that a terminal or rich obeys."""

from pathlib import Path

import pytest

from flows.console import (
    SimilarOutcome,
    SyncOutcome,
    show_sentence,
    show_similar,
    show_sync,
)
from tasks.core.questions import Question
from tasks.core.similar import Answer, SimilarImage
from tasks.core.summary import RunSummary, RunTotals
from tasks.core.types import (
    Change,
    Listing,
    Neighbour,
    Space,
    SyncPlan,
    Verdict,
)

SPACE = Space(1, "images", "multimodalembedding@001", 128, "none", "space_1", "active")
ODD = ["img[/1].png", "photos/[old]/a.png", "[bold]a[/bold].png", "[link=x]a.png", ":smile:.png"]
OBEYED = "a\x1b[31m\x9b2J\r\x07\u202e\ud800b.png"
SHOWN = "a?[31m?2J????b.png"
NAMES = [*((name, name) for name in ODD), (OBEYED, SHOWN)]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def show_found(question: Question, name: str) -> None:
    found = SimilarImage(1, "birdwalk", name, 0.25, "https://example.com/a%5B")
    answer = Answer(question, SPACE, None, (found,), 1)
    show_similar(SimilarOutcome(answer, Path(f"{name}.sheet"), None))


def synced(name: str) -> SyncOutcome:
    plan = SyncPlan(1, 0, 0, (Change("new", 1, (name,)),), 0, 100, 0.0, 0.0, ())
    listing = Listing(objects=1, images=1, skipped={})
    totals = RunTotals(1, 0, 0, 0, 1, 1, 0)
    verdict = Verdict((), name, (Neighbour("birdwalk", name, 0.25),), 1, None)
    summary = RunSummary(1, "images", listing, plan, totals, 0, 0, 0.0, None, {})
    return SyncOutcome(plan, None, summary, 0, verdict, Path(name), Path(name))


@pytest.mark.parametrize(("name", "shown"), NAMES, ids=ascii)
def test_an_answer_shows_names_and_questions_as_they_are(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = (
        (Question(image_id=name), f"Nearest to {shown}"),
        (Question(file=Path("in") / name), f"Nearest to {Path(shown).name}"),
        (Question(text=f"a plane {name.replace(OBEYED, 'x')}"), "Nearest to “a plane "),
    )
    for question, title in questions:
        show_found(question, name)
        out = capsys.readouterr().out
        assert out.splitlines()[0].startswith(title)
        assert f"│ {shown} " in out
        assert f"picture  {shown}.sheet\n" in out
        assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize(("name", "shown"), NAMES, ids=ascii)
def test_a_sync_shows_names_as_they_are(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = synced(name)
    show_sync(outcome)
    out = capsys.readouterr().out
    assert f"Nearest to {shown}" in out
    assert f"│ {shown} " in out
    show_sync(SyncOutcome(outcome.plan, None))
    out += (planned := capsys.readouterr().out)
    assert f"│ {shown} " in planned
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize(("name", "shown"), NAMES, ids=ascii)
def test_a_sentence_and_the_message_of_a_run_hold_nothing_that_a_terminal_obeys(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_sentence(f"Such as {name}.")
    assert capsys.readouterr().out == f"Such as {shown}.\n"
    found = SimilarImage(1, "birdwalk", name, 0.25, "https://example.com/a")
    answer = Answer(Question(image_id=name), SPACE, None, (found,), 1)
    message = SimilarOutcome(answer, Path("a.png"), None).sentence
    assert message == f"1 image nearest to {shown}; the nearest is {shown}."
