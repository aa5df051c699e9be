"""What a flow came to, as what JSON can hold: for programs that call `birdwalk X --json`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from flows.terminal.outcomes import DuplicatesOutcome, SimilarOutcome, SyncOutcome
from tasks.core.reports.similar import answer_json
from tasks.core.settings import get_settings
from tasks.core.spaces.drift import SpaceReport


def sync_json(outcome: SyncOutcome) -> dict[str, Any]:
    """Return a sync's plan and, unless it was to plan only, what became of it."""
    return {"plan": _plan(outcome), "result": _result(outcome), "run": outcome.run_url}


def _plan(outcome: SyncOutcome) -> dict[str, Any]:
    plan = outcome.plan
    return {
        "listed": plan.listed,
        "unchanged": plan.unchanged,
        "recovered": plan.recovered,
        "taken_over": plan.taken_over,
        "changes": [asdict(change) for change in plan.changes],
        "calls": plan.calls,
        "price_usd": plan.price,
        "seconds_at_quota": plan.seconds_at_quota,
    }


def _result(outcome: SyncOutcome) -> dict[str, Any] | None:
    summary, outcomes = outcome.summary, outcome.outcomes
    if summary is None or outcomes is None:
        return None
    return {
        "embedded": summary.totals.embedded,
        "without_call": summary.without_call,
        "changed": summary.changed,
        "removed": summary.removed,
        "refused": outcomes.refused,
        "leftover": outcomes.leftover,
        "answers": summary.totals.answers,
        "price_usd": summary.price,
        "images_per_second": summary.images_per_second,
        "csv": None if outcome.csv is None else str(outcome.csv),
        "picture": None if outcome.contact_sheet is None else str(outcome.contact_sheet),
    }


def similar_json(outcome: SimilarOutcome) -> dict[str, Any]:
    """Return a question, its neighbours, and where they are shown."""
    return answer_json(get_settings(), outcome.answer, outcome.picture, outcome.run_url)


def duplicates_json(outcome: DuplicatesOutcome) -> dict[str, Any]:
    """Return how many groups there are, the first of them, and the CSV that has all."""
    report = outcome.report
    return {
        "groups": report.groups,
        "images": report.images,
        "first": [
            {"images": group.images, "distance": group.distance, "names": list(group.names)}
            for group in report.first
        ],
        "csv": str(report.csv),
        "picture": None if report.picture is None else str(report.picture),
        "run": outcome.run_url,
    }


def check_json(sentence: str) -> dict[str, Any]:
    """Return that an index is in order; one that is not fails the command."""
    return {"in_order": True, "found": sentence}


def spaces_json(reports: Sequence[SpaceReport]) -> list[dict[str, Any]]:
    """Return the spaces of an index, the newest first."""
    return [
        {
            "space_id": report.space.space_id,
            "model": report.space.model,
            "dimension": report.space.dimension,
            "preprocessing": report.space.preprocessing,
            "status": report.space.status,
            "vectors": report.vectors,
            "shown": report.shown,
            "missing": report.losses.missing.images,
            "refused": report.losses.refused.images,
            "recall": report.space.recall,
            "published_at": _moment(report.space.published_at),
        }
        for report in reports
    ]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
