"""What a run came to: the counts of its durable batches, for people to read."""

import time
from dataclasses import dataclass, field

from tasks.core.postgres import sql
from tasks.core.run import Run
from tasks.core.types import Listing


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What a run's durable batches add up to; fields as in BatchReport."""

    images: int = 0
    embedded: int = 0
    recovered: int = 0
    refused: int = 0
    gone: int = 0
    pending: int = 0
    calls: int = 0
    answers: int = 0
    retries: int = 0
    deferrals: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run listed, embedded and cost.

    Attributes:
        price: what Google charges for the answers, in US dollars.
        seconds: wall seconds by step; the steps of batches overlap.
        images_per_second: answers a second while embedding; None where nothing was asked.
    """

    run_id: int
    index: str
    listing: Listing
    unchanged: int
    refused_before: int
    totals: RunTotals
    price: float
    images_per_second: float | None
    seconds: dict[str, float] = field(default_factory=dict)


async def summarise(run: Run) -> RunSummary:
    """Return the summary of an open run, as far as it came."""
    async with run.database.connection() as connection:
        row = await connection.fetchrow(sql("select_run_totals"), run.run_id)
    totals, seconds = RunTotals(**row), run.seconds
    embedding = seconds.get("embed_batches", 0.0)
    return RunSummary(
        run_id=run.run_id,
        index=run.options.index,
        listing=run.listing or Listing(0, 0),
        unchanged=run.plan.unchanged if run.plan else 0,
        refused_before=run.plan.refused_before if run.plan else 0,
        totals=totals,
        price=totals.answers * run.model.price,
        images_per_second=totals.answers / embedding if embedding and totals.answers else None,
        seconds=seconds,
    )


def summary_markdown(summary: RunSummary, verdict: str) -> str:
    """Return the summary as a markdown document: two tables, one of counts, one of seconds."""
    totals = summary.totals
    skipped = sum(summary.listing.skipped.values())
    reasons = "; ".join(f"{count:,} {why}" for why, count in summary.listing.skipped.items())
    pace = summary.images_per_second
    rows = [
        ("objects listed", f"{summary.listing.objects:,}"),
        ("images among them", f"{summary.listing.images:,}"),
        ("objects skipped", f"{skipped:,}{f' ({reasons})' if reasons else ''}"),
        ("unchanged since the last run", f"{summary.unchanged:,}"),
        ("refused before, not asked again", f"{summary.refused_before:,}"),
        ("embedded", f"{totals.embedded:,}"),
        ("refused", f"{totals.refused:,}"),
        ("gone since the listing", f"{totals.gone:,}"),
        ("left for the next run", f"{totals.pending:,}"),
        ("calls", f"{totals.calls:,}"),
        ("retries", f"{totals.retries:,}"),
        ("429s (deferred)", f"{totals.deferrals:,}"),
        ("images a second", f"{pace:,.1f}" if pace else "nothing was asked"),
        ("price on Vertex AI", f"${summary.price:,.4f}"),
    ]
    counts = "\n".join(f"| {name} | {value} |" for name, value in rows)
    steps = "\n".join(f"| {step} | {value:,.2f} |" for step, value in summary.seconds.items())
    return (
        f"# Run {summary.run_id} of index {_code(summary.index)}: {verdict}\n\n"
        f"| what | how many |\n| --- | --- |\n{counts}\n\n"
        f"| step | seconds |\n| --- | --- |\n{steps}\n"
    )


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"


def progress_sentence(run: Run) -> str:
    """Return one line on how far a run has come: counts, pace, price."""
    if run.plan is None:
        return "The listing did not end."
    progress, rate = run.progress, run.options.requests_per_minute
    start, end = run.spans.get("plan_sync", (0.0, 0.0))
    seconds = max(time.monotonic() - end, 1e-9) if end > start else 1.0
    pace = progress.answers / seconds
    left = progress.total - progress.done
    return (
        f"{progress.done:,} of {progress.total:,} images, {left:,} left; {pace:,.1f} images/s,"
        f" {100 * 60 * pace / rate:.0f}% of the quota; {progress.deferrals:,} 429s;"
        f" ${progress.answers * run.model.price:,.4f} so far"
    )
