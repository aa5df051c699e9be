"""What a run came to, as a page."""

from tasks.core.reports.markdown import code
from tasks.core.runs.summary import RunSummary
from tasks.core.text import dollars


def summary_markdown(summary: RunSummary, verdict: str) -> str:
    """Return the summary as a markdown document: two tables, one of counts, one of seconds."""
    totals, pace = summary.totals, summary.images_per_second
    skipped = summary.listing.skipped
    reasons = "; ".join(f"{count:,} {why}" for why, count in skipped.items())
    rows = [
        ("objects listed", f"{summary.listing.objects:,}"),
        ("images among them", f"{summary.listing.images:,}"),
        ("objects skipped", f"{sum(skipped.values()):,}{f' ({reasons})' if reasons else ''}"),
        ("unchanged", f"{summary.plan.unchanged if summary.plan else 0:,}"),
        ("recovered from a dead run", f"{summary.plan.recovered if summary.plan else 0:,}"),
        ("taken over from another index", f"{summary.taken_over:,}"),
        ("moved, copied or rewritten, without a call", f"{summary.without_call:,}"),
        ("embedded", f"{totals.embedded:,}"),
        ("refused", f"{totals.refused:,}"),
        ("refused before, not asked again", f"{summary.planned('refused before'):,}"),
        ("gone since the listing", f"{totals.gone:,}"),
        ("left for the next run", f"{totals.leftover:,}"),
        ("added or changed for readers", f"{summary.changed:,}"),
        ("removed", f"{summary.removed:,}"),
        ("calls", f"{totals.calls:,}"),
        ("retries", f"{totals.retries:,}"),
        ("429s (deferred)", f"{totals.deferrals:,}"),
        ("images a second", f"{pace:,.1f}" if pace else "nothing was asked"),
        ("price on Vertex AI", dollars(summary.price)),
    ]
    counts = "\n".join(f"| {name} | {value} |" for name, value in rows)
    steps = "\n".join(f"| {step} | {value:,.2f} |" for step, value in summary.seconds.items())
    return (
        f"# Run {summary.run_id} of index {code(summary.index)}: {verdict}\n\n"
        f"| what | how many |\n| --- | --- |\n{counts}\n\n"
        f"| step | seconds |\n| --- | --- |\n{steps}\n"
    )
