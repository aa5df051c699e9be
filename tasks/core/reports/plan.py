"""The plan as a page: what will be done, what it costs, and what the guards say."""

from tasks.core.reports.markdown import code, codes, yes
from tasks.core.runs.options import SyncOptions
from tasks.core.text import count, dollars
from tasks.core.types import Change, SyncPlan

MEANING = {
    "new": "embedded",
    "changed": "embedded again; the old vector serves until the new one is published",
    "moved or copied": "shown with the vector of their content",
    "rewritten": "written again with the same content: the vector stays",
    "refused before": "not asked again (retry_refused asks)",
    "gone": "removed, when the new ones are published",
}


def plan_markdown(plan: SyncPlan, options: SyncOptions) -> str:
    """Return the plan as a markdown document."""
    where = code(f"gs://{options.bucket}/{options.prefix}")
    changes = "\n".join(
        f"| {change.kind} | {change.images:,} | {change.calls:,} | {MEANING[change.kind]} |"
        for change in plan.changes
    )
    # Below the table: Prefect's older interface breaks no line in one.
    examples = "".join(
        f"- {change.kind}: {codes(change.examples)}{' ...' if _more(change) else ''}\n"
        for change in plan.changes
        if change.examples
    )
    guards = "\n".join(
        f"| {guard.name} | {yes(guard.held)} |"
        f" {'' if guard.held else f'{guard.found} {code(guard.parameter)} allows it.'} |"
        for guard in plan.guards
    )
    verb = "would be" if options.plan_only else "were"
    free = "".join(
        f"{count(vectors, 'vector')} {source}: {verb} taken, without a call.\n\n"
        for vectors, source in (
            (plan.recovered, "that a dead run had paid for"),
            (plan.taken_over, "that another index has"),
        )
        if vectors
    )
    cost = f"{count(plan.calls, 'call')}, {dollars(plan.price)}, {_duration(plan.seconds_at_quota)}"
    return (
        f"# {where} into {code(options.index)}\n\n**{cost}** at"
        f" {count(options.requests_per_minute, 'request')} a minute{_batches(plan)}.\n\n{free}"
        f"| images | how many | calls | what becomes of them |\n| --- | --- | --- | --- |\n"
        f"| listed | {plan.listed:,} | {plan.calls:,} | |\n"
        f"| unchanged | {plan.unchanged:,} | 0 | nothing |\n"
        f"{changes}\n\n{examples}\n"
        f"| guard | holds | otherwise |\n| --- | --- | --- |\n{guards}\n"
    )


def _more(change: Change) -> bool:
    return change.images > len(change.examples)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under a second"
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _batches(plan: SyncPlan) -> str:
    batches = plan.batches
    if not batches:
        return ""
    return f", in {len(batches):,} batches of {plan.batch_size:,}" if batches[1:] else ""
