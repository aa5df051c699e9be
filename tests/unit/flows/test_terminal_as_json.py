"""What a program reads is JSON, whatever the outcome holds."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from flows.terminal.as_json import duplicates_json, similar_json, spaces_json, sync_json
from flows.terminal.outcomes import DuplicatesOutcome, SimilarOutcome, SyncOutcome
from tasks.core.reports.duplicates import DuplicatesReport, GroupExample
from tasks.core.runs.summary import RunSummary
from tasks.core.searching.find_similar import Answer
from tasks.core.searching.question import Question
from tasks.core.spaces.drift import SpaceReport
from tasks.core.spaces.registry import Space
from tasks.core.types import (
    Change,
    Counts,
    Listing,
    Neighbour,
    OutcomeReport,
    SyncPlan,
    Verdict,
)

SPACE = Space(1, 1, "images", "multimodalembedding@001", 128, "none", "active")
PLAN = SyncPlan(3, 1, 1, (Change("new", 2, 2, ("a.png",)),), 0, 0, 100, 0.0002, 0.1, ())


def read(value: Any) -> Any:
    return json.loads(orjson.dumps(value))


def test_a_plan_has_its_counts_and_price_and_no_result() -> None:
    told = read(sync_json(SyncOutcome(PLAN, None)))
    assert told["plan"]["changes"] == [
        {"kind": "new", "images": 2, "calls": 2, "examples": ["a.png"]}
    ]
    assert (told["plan"]["calls"], told["plan"]["price_usd"]) == (PLAN.calls, 0.0002)
    assert (told["result"], told["run"]) == (None, None)


def test_a_sync_has_a_result_and_says_where_its_files_are() -> None:
    totals = Counts(images=2, embedded=2, calls=2, answers=2)
    listing = Listing(objects=3, images=3, skipped={})
    summary = RunSummary(1, "images", listing, PLAN, totals, 0, 2, 4, 0.0002, 7.5, {})
    verdict = Verdict((), "a.png", (Neighbour("b", "a.png", 0.25),), 1, None)
    outcome = SyncOutcome(
        PLAN, "http://run", summary, OutcomeReport(5, 1), verdict, Path("/x/e.csv"), None
    )
    told = read(sync_json(outcome))["result"]
    assert (told["embedded"], told["refused"], told["removed"]) == (2, 5, summary.removed)
    assert told["leftover"] == 1
    assert (told["csv"], told["picture"]) == ("/x/e.csv", None)
    assert told["images_per_second"] == 7.5


def test_an_answer_has_its_neighbours() -> None:
    found = (Neighbour("b", "a.png", 0.25),)
    answer = Answer(Question(text="a", count=1), SPACE, None, found, 1)
    told = read(similar_json(SimilarOutcome(answer, Path("/x/sheet.png"), "http://run")))
    assert [image["image_id"] for image in told["neighbours"]] == ["a.png"]
    assert (told["picture"], told["run"]) == ("/x/sheet.png", "http://run")


def test_duplicates_have_their_first_groups_and_the_file_of_all() -> None:
    first = (GroupExample(2, 0.1, ("a.png", "b.png")),)
    report = DuplicatesReport(7, 15, "Found.", first, Path("/x/d.csv"), None)
    told = read(duplicates_json(DuplicatesOutcome(report, None)))
    assert (told["groups"], told["images"], told["csv"]) == (7, 15, "/x/d.csv")
    assert told["first"] == [{"images": 2, "distance": 0.1, "names": ["a.png", "b.png"]}]


def test_spaces_are_a_list() -> None:
    published = datetime(2026, 1, 2, tzinfo=UTC)
    shown = replace(SPACE, published_at=published)
    first, second = read(spaces_json([SpaceReport(shown, 9, 8, 8), SpaceReport(SPACE, 0, 0, 8)]))
    assert (first["space_id"], first["vectors"], first["shown"]) == (1, 9, 8)
    assert first["published_at"] == "2026-01-02T00:00:00+00:00"
    assert second["published_at"] is None
