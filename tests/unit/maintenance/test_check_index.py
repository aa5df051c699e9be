from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.errors import IndexDrifted
from tasks.core.maintenance.check_index import (
    HealthLimits,
    IndexHealth,
    Source,
    SpaceHealth,
    TableSize,
    _check_age,
    _check_drift,
    _check_search,
    age,
    require_in_order,
)
from tasks.core.reports.health import health_markdown, health_sentence
from tasks.core.spaces.drift import Drift, KeptListing, SpaceReport
from tasks.core.spaces.registry import Space
from tasks.core.types import Check

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SPACE = Space(7, 1, "photos", "multimodalembedding@001", 128, "none", "active", published_at=NOW)
SIZE = TableSize(1_000_000, 2_000_000, 3)
LIMITS = HealthLimits(drift=0.05, listing_hours=36)


def space(vectors: int = 100, *approximate: str) -> SpaceHealth:
    return SpaceHealth(SpaceReport(SPACE, vectors, 120, 120), SIZE, approximate)


def source(hours: float | None) -> Source:
    listed_at = None if hours is None else NOW - timedelta(hours=hours)
    return Source("bucket", "planes/", listed_at, listed_at)


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (Drift(100, 100, missing=6), False),
        (Drift(100, 100, outdated=6), False),
        (Drift(100, 100, gone=6), False),
        (Drift(100, 100, missing=2, outdated=2, gone=1), True),
        (Drift(100, 100, missing=40, outdated=7, leftover=42), True),
        (Drift(100, 100, missing=40, outdated=7, gone=1, leftover=42), False),
        (Drift(10, 0, gone=10), False),
        (Drift(0), True),
    ],
)
def test_drift_up_to_the_share_passes_beside_what_was_left_for_the_next_run(
    found: Drift, *, passed: bool
) -> None:
    assert _check_drift(found, LIMITS, None).passed == passed


def test_an_index_that_a_run_is_changing_is_shown_and_not_judged() -> None:
    check = _check_drift(Drift(100, 100, missing=90), LIMITS, "birdwalk run x")
    assert check.passed
    assert "not judged, birdwalk run x is at work; 90 missing" in check.found
    assert _check_search(space(20_000), "birdwalk run x").passed


@pytest.mark.parametrize(
    ("hours", "passed"), [(0.1, True), (35.9, True), (36.1, False), (None, False)]
)
def test_a_listing_may_be_so_old_and_no_older(hours: float | None, *, passed: bool) -> None:
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
def test_a_search_index_is_valid_and_there_where_it_pays(
    found: SpaceHealth, *, passed: bool
) -> None:
    assert _check_search(found, None).passed == passed


def health(*checks: Check, drift: Drift | None = None) -> IndexHealth:
    return IndexHealth(
        SPACE, NOW, None, drift or Drift(120, 100), SIZE, (space(100),), (source(40),), 0.99, checks
    )


def test_a_drifted_index_is_an_error_that_says_what_and_what_to_do() -> None:
    require_in_order(health(Check("it is fresh", passed=True, found="yes")))
    bad = health(Check("it is fresh", passed=False, found="40 h old"))
    with pytest.raises(IndexDrifted, match=r"'photos'.*it is fresh: 40 h old.*Run embed-images"):
        require_in_order(bad)


def test_the_page_shows_the_checks_the_spaces_the_sizes_and_the_sources() -> None:
    page = health_markdown(health(Check("it is fresh", passed=False, found="40 h old")))
    assert "# `photos` is not in order" in page
    assert "- **NO**: it is fresh: 40 h old" in page
    assert "| 7 | active | 100 | 120 | 0 | 0 |" in page
    assert "- space 7: `multimodalembedding@001, 128 dimensions`" in page
    assert "| images | 1.0 MB | 2.0 MB | none | 3 |" in page
    assert "| space 7 | 1.0 MB | 2.0 MB | none | 3 |" in page
    assert "| `gs://bucket/planes/` | 40.0 h ago | 40.0 h ago |" in page
    assert "recall@10 is 0.990" in page
    assert "at work" not in page
    held = replace(health(), held_by="birdwalk run x")
    assert "`birdwalk run x` is at work on it right now." in health_markdown(held)


def test_the_sentence_says_how_the_index_is() -> None:
    said = "photos is in order: 120 images, recall 0.990, 0 missing, 0 outdated, 0 gone."
    assert health_sentence(health()) == said
    left = health(drift=Drift(120, 100, missing=3, outdated=1, gone=4, leftover=2))
    assert health_sentence(left).endswith(
        "3 missing, 1 outdated (2 left for the next run), 4 gone."
    )


def test_images_that_no_kept_listing_covers_are_said_not_to_be_compared() -> None:
    listing = KeptListing(3, "birds", "2026|/", NOW, whole=False)
    partly = health(drift=Drift(2_000, 766, not_compared=1_234, listings=(listing,)))
    assert health_sentence(partly).endswith("0 gone, 1,234 images not compared.")
    said = "`gs://birds/2026|/ (cut short)`. Not compared: 1,234 images of other buckets"
    assert said in health_markdown(partly)
    without = health(drift=Drift(2_000, not_compared=2_000))
    assert "there is none. Not compared: 2,000 images" in health_markdown(without)
    assert "ot compared" not in health_sentence(health()) + health_markdown(health())


def test_ages_are_told_in_minutes_then_in_hours_then_in_days() -> None:
    assert age(NOW - timedelta(minutes=30), NOW) == "30 min ago"
    assert age(NOW - timedelta(hours=40), NOW) == "40.0 h ago"
    assert age(NOW - timedelta(days=30), NOW) == "30 days ago"
    assert age(None, NOW) == "never"
