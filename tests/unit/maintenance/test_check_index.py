from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.errors import IndexDrifted
from tasks.core.maintenance.check_index import (
    HealthLimits,
    IndexHealth,
    Source,
    SpaceHealth,
    _check_age,
    _check_drift,
    _check_search,
    age,
    refuse_drifted,
)
from tasks.core.reports.health import health_markdown, health_sentence
from tasks.core.spaces.drift import LastListing, SpaceReport
from tasks.core.spaces.registry import Space
from tasks.core.types import Check

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SPACE = Space(7, "photos", "multimodalembedding@001", 128, "none", "space_7", "active")
LIMITS = HealthLimits(drift=0.05, listing_hours=36)


def report(
    rows: int = 100, listed: int = 100, missing: int = 0, outdated: int = 0, gone: int = 0
) -> SpaceReport:
    return SpaceReport(SPACE, rows, None, NOW, listed, missing, outdated, gone)


def space(rows: int = 100, *approximate: str) -> SpaceHealth:
    return SpaceHealth(report(rows), 1_000_000, 2_000_000, 3, approximate)


def source(hours: float | None) -> Source:
    listed_at = None if hours is None else NOW - timedelta(hours=hours)
    return Source("bucket", "planes/", listed_at, listed_at)


@pytest.mark.parametrize(
    "found", [report(missing=6), report(outdated=6), report(gone=6), report(10, 10, 1, 0, 0)]
)
def test_each_way_of_drifting_fails_above_the_share(found: SpaceReport) -> None:
    assert not _check_drift(found, 0, LIMITS, None).passed


def test_drift_up_to_the_share_passes_and_so_does_an_empty_listing() -> None:
    assert _check_drift(report(missing=2, outdated=2, gone=1), 0, LIMITS, None).passed
    assert _check_drift(report(0, 0), 0, LIMITS, None).passed


def test_what_was_left_for_the_next_run_is_said_and_does_not_count() -> None:
    check = _check_drift(report(missing=40, outdated=7), 42, LIMITS, None)
    assert check.passed
    assert "40 missing, 7 outdated, 0 gone of 100 listed: 5.0% without 42 left" in check.found
    assert not _check_drift(report(missing=40, outdated=7, gone=1), 42, LIMITS, None).passed


def test_an_index_that_a_run_is_changing_is_not_judged() -> None:
    check = _check_drift(report(missing=90), 0, LIMITS, "birdwalk run x")
    assert check.passed
    assert "not judged, birdwalk run x is at work" in check.found
    assert _check_search(space(20_000), "birdwalk run x").passed


@pytest.mark.parametrize(
    ("hours", "passed"), [(0.1, True), (35.9, True), (36.1, False), (None, False)]
)
def test_a_listing_may_be_so_old_and_no_older(hours: float | None, passed: bool) -> None:  # noqa: FBT001 - a column of the table above
    check = _check_age((source(hours), source(1)), LIMITS, NOW)
    assert check.passed == passed
    assert ("gs://bucket/planes/" in check.found) != passed


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (space(100), True),
        (space(20_000, "valid"), True),
        (space(20_000), False),
        (space(100, "unusable: x_hnsw"), False),
        (space(20_000, "valid", "unusable: x_hnsw"), False),
    ],
)
def test_a_search_index_is_valid_and_there_where_it_pays(found: SpaceHealth, passed: bool) -> None:  # noqa: FBT001 - a column of the table above
    assert _check_search(found, None).passed == passed


def health(*checks: Check) -> IndexHealth:
    return IndexHealth(SPACE, NOW, None, (space(100),), (source(40),), 0.99, 0, checks)


def test_a_drifted_index_is_an_error_that_says_what_and_what_to_do() -> None:
    refuse_drifted(health(Check("it is fresh", passed=True, found="yes")))
    bad = health(Check("it is fresh", passed=False, found="40 h old"))
    with pytest.raises(IndexDrifted, match=r"'photos'.*it is fresh: 40 h old.*Run embed-images"):
        refuse_drifted(bad)


def test_the_page_shows_the_checks_the_spaces_and_the_sources() -> None:
    page = health_markdown(health(Check("it is fresh", passed=False, found="40 h old")))
    assert "# `photos` is not in order" in page
    assert "- **NO**: it is fresh: 40 h old" in page
    assert "| 7 | active | 100 |" in page
    assert "- space 7: `multimodalembedding@001, 128 dimensions`" in page
    assert "| 7 | 1.0 MB | 2.0 MB | none |" in page
    assert "| `gs://bucket/planes/` | 40.0 h ago | 40.0 h ago |" in page
    assert "recall@10 is 0.990" in page
    assert health_sentence(health()).startswith("photos is in order: 100 rows, recall 0.990")
    left = replace(health(), left=2)
    assert health_sentence(left).endswith("0 missing, 0 outdated (2 left for the next run).")


def test_rows_of_another_bucket_are_said_not_to_be_compared() -> None:
    whole = health()
    listing = LastListing(3, "birds", "2026|/", NOW, whole=True)
    compared = replace(space(100).report, listing=listing)
    shown = replace(compared, elsewhere=1_234)
    partly, all_of_it = (
        replace(whole, spaces=(replace(space(100), report=found),)) for found in (shown, compared)
    )
    assert health_sentence(partly).endswith("0 missing, 0 outdated, 1,234 rows not compared.")
    said = "the last listing of an index is kept, here that of `gs://birds/2026\\|/`. Not compared"
    assert f"{said} with theirs: 1,234 rows of other buckets" in health_markdown(partly)
    for other in (whole, all_of_it):
        assert "ot compared" not in health_sentence(other) + health_markdown(other)


def test_ages_are_told_in_minutes_then_in_hours_then_in_days() -> None:
    assert age(NOW - timedelta(minutes=30), NOW) == "30 min ago"
    assert age(NOW - timedelta(hours=40), NOW) == "40.0 h ago"
    assert age(NOW - timedelta(days=30), NOW) == "30 days ago"
    assert age(None, NOW) == "never"
