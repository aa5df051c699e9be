"""What a flow came to: what its state message says, and what a terminal or a program is shown."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.text import count, dollars, printable

if TYPE_CHECKING:
    from tasks.core.maintenance.drop_space import DroppedSpace
    from tasks.core.reports.duplicates import DuplicatesReport
    from tasks.core.runs.summary import RunSummary
    from tasks.core.searching.find_similar import Answer
    from tasks.core.spaces.drift import SpaceReport
    from tasks.core.types import CsvReport, OutcomeReport, SyncPlan, Verdict


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What a run planned, and, unless it was to plan only, what it made and where to look."""

    plan: "SyncPlan"
    run_url: str | None
    summary: "RunSummary | None" = None
    outcomes: "OutcomeReport | None" = None
    verdict: "Verdict | None" = None
    csv: Path | None = None
    contact_sheet: Path | None = None

    def completed(
        self,
        summary: "RunSummary",
        outcomes: "OutcomeReport",
        verdict: "Verdict",
        csv: "CsvReport",
        contact_sheet: Path,
    ) -> "SyncOutcome":
        """Return the outcome of a run that went to its end."""
        return replace(
            self,
            summary=summary,
            outcomes=outcomes,
            verdict=verdict,
            csv=csv.path,
            contact_sheet=contact_sheet if verdict.neighbours else None,
        )

    @property
    def sentence(self) -> str:
        """The outcome in a line: the flow run's state message."""
        plan, summary, outcomes = self.plan, self.summary, self.outcomes
        if summary is None or outcomes is None:
            calls = count(plan.calls, "call")
            return f"Planned only: {calls}, {dollars(plan.price)}; nothing was spent."
        leftover = f", {outcomes.leftover:,} left for the next run" if outcomes.leftover else ""
        return (
            f"{summary.totals.embedded:,} embedded, {summary.without_call:,} moved, copied or"
            f" rewritten, {plan.unchanged:,} unchanged, {summary.removed:,} removed,"
            f" {outcomes.refused:,} refused{leftover}."
        )


@dataclass(frozen=True, slots=True)
class SimilarOutcome:
    """The answer to a question, the file that shows it, and the run's page in Prefect's UI."""

    answer: "Answer"
    picture: Path
    run_url: str | None

    @property
    def sentence(self) -> str:
        """The outcome in a line: the flow run's state message."""
        found = self.answer.neighbours
        first = f"; the nearest is {printable(found[0].image_id)}" if found else ""
        return f"{count(len(found), 'image')} nearest to {self.answer.question.label}{first}."


@dataclass(frozen=True, slots=True)
class DuplicatesOutcome:
    """What was found, and the run's page in Prefect's UI."""

    report: "DuplicatesReport"
    run_url: str | None


def switched_sentence(report: "SpaceReport") -> str:
    """Return what a rollback came to, in a line."""
    space = report.space
    return (
        f"{space.index} shows space {space.space_id} ({space.label},"
        f" {count(report.shown, 'image')}). {report.changes}"
    )


def dropped_sentence(dropped: "DroppedSpace") -> str:
    """Return what deleting a space came to, in a line."""
    space = dropped.space
    return f"Dropped space {space.space_id} ({space.label}): {count(dropped.vectors, 'vector')}."
