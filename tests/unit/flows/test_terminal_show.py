"""What a terminal shows of names: as they are, and nothing that a terminal or rich obeys."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.terminal.outcomes import DuplicatesOutcome, SimilarOutcome, SyncOutcome
from flows.terminal.show import (
    show_duplicates,
    show_sentence,
    show_similar,
    show_spaces,
    show_sync,
)
from tasks.core.reports.contact_sheet import contact_sheet_markdown
from tasks.core.reports.duplicates import DuplicatesReport, GroupExample
from tasks.core.reports.similar import answer_markdown
from tasks.core.runs.summary import RunSummary
from tasks.core.searching.find_duplicates import DuplicateGroup
from tasks.core.searching.find_similar import Answer
from tasks.core.searching.question import Question
from tasks.core.settings import Settings
from tasks.core.spaces.drift import SpaceReport
from tasks.core.spaces.registry import Space
from tasks.core.types import (
    Change,
    Counts,
    Image,
    Listing,
    Neighbour,
    OutcomeReport,
    SyncPlan,
    Verdict,
)

SPACE = Space(1, 1, "images", "multimodalembedding@001", 128, "none", "active")
LONG_AGO = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
RETIRED = replace(
    SPACE,
    space_id=2,
    dimension=512,
    preprocessing="crop-subject-1",
    status="retired",
    published_at=LONG_AGO,
)
ODD = ["img[/1].png", "photos/[old]/a.png", "[bold]a[/bold].png", "[link=x]a.png", ":smile:.png"]
OBEYED = "a\x1b[31m\x9b2J\r\x07\u202e\ud800b.png"
SHOWN = "a?[31m?2J????b.png"
NAMES = [*((name, name) for name in ODD), (OBEYED, SHOWN)]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def show_found(question: Question, name: str) -> None:
    # Names of files may hold what is no text, those of an index may not.
    found = Neighbour("birdwalk", name.replace("\ud800", "\u2029"), 0.25)
    answer = Answer(question, SPACE, None, (found,), 1)
    show_similar(SimilarOutcome(answer, Path(f"{name}.sheet"), None))


def duplicates(groups: int, name: str, picture: Path | None) -> DuplicatesOutcome:
    images = tuple(Image("birdwalk", name, 1, "key") for _ in range(8))
    group = GroupExample.of(DuplicateGroup(images, 0.25))
    first = (group, *[GroupExample.of(DuplicateGroup(images[:2], 0.0))] * min(9, groups - 1))
    return DuplicatesOutcome(
        DuplicatesReport(groups, 99, "Found.", first[:groups], Path("a.csv"), picture), "http://run"
    )


def synced(name: str) -> SyncOutcome:
    plan = SyncPlan(1, 0, 0, (Change("new", 1, 1, (name,)),), 0, 0, 100, 0.0, 0.0, ())
    listing = Listing(objects=1, images=1, skipped={})
    totals = Counts(images=1, embedded=1, calls=1, answers=1)
    verdict = Verdict((), name, (Neighbour("birdwalk", name, 0.25),), 1, None)
    summary = RunSummary(1, "images", listing, plan, totals, 0, 0, 0, 0.0, None, {})
    outcomes = OutcomeReport(0, 0)
    return SyncOutcome(plan, None, summary, outcomes, verdict, Path(name), Path(name))


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
    found = Neighbour("birdwalk", name, 0.25)
    answer = Answer(Question(image_id=name), SPACE, None, (found,), 1)
    message = SimilarOutcome(answer, Path("a.png"), None).sentence
    assert message == f"1 image nearest to {shown}; the nearest is {shown}."


@pytest.mark.parametrize(("name", "shown"), NAMES, ids=ascii)
def test_duplicates_are_a_table_of_groups_and_the_files(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_duplicates(duplicates(12, name, Path("a.png")))
    out = capsys.readouterr().out
    assert out.startswith("The first 10 of 12 groups")
    # Six of the eight of the first group, and both of nine others.
    assert out.count(f"│ {shown} ") == 6 + 9 * 2
    assert "│     1 │      8 │   0.2500 │" in out
    assert "│    10 │      2 │   0.0000 │" in out
    for line in ("   found  Found.", "     CSV  a.csv", " picture  a.png", "     run  http://run"):
        assert f"\n{line}\n" in out
    assert out.replace("\n", "").isprintable()


def test_spaces_are_a_table_and_what_each_is_made_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reports = [SpaceReport(SPACE, 1_234_567, 7, 7), SpaceReport(RETIRED, 5, 4, 7)]
    show_spaces("images", reports)
    out = capsys.readouterr().out
    assert out.startswith("The spaces of images against the 7 images")
    assert "│     1 │ active  │ 1,234,567 │" in out
    assert "│     2 │ retired │         5 │" in out
    assert "…" not in out
    assert (
        " space 2  multimodalembedding@001, 512 dimensions, crop-subject-1; published: 2026-01-02"
        in out
    )


def test_no_duplicates_are_no_table_and_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    show_duplicates(duplicates(0, "a.png", None))
    out = capsys.readouterr().out
    assert "│" not in out
    assert " picture  none: there is nothing to show\n" in out


@pytest.mark.parametrize(
    ("found", "note"), [(20, None), (21, "The picture shows the first 20 of 21 images.")]
)
def test_it_is_said_where_the_picture_shows_fewer_images_than_the_table(
    found: int, note: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tuple(Neighbour("b", f"{n}.png", 0.1) for n in range(found))
    answer = Answer(Question(text="a", count=found), SPACE, None, images, 1)
    show_similar(SimilarOutcome(answer, Path("a.png"), None))
    out = capsys.readouterr().out
    page = answer_markdown(Settings(), answer, b"png")
    gate = contact_sheet_markdown(Verdict((), "a", images, 1, None), b"png")
    for text in (out, page, gate):
        assert (f"{note}\n" in text) if note else ("The picture shows" not in text)
