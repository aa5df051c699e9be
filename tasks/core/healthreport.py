"""Show what was found about an index, for people."""

from tasks.core.health import IndexHealth, SpaceHealth, age
from tasks.core.markdown import code


def health_sentence(health: IndexHealth) -> str:
    """Return the outcome in a line."""
    shown = next(s.report for s in health.spaces if s.report.space == health.space)
    recall = "exact searches" if health.recall is None else f"recall {health.recall:.3f}"
    return (
        f"{health.space.index} is {'not in order' if health.failed else 'in order'}:"
        f" {shown.rows:,} rows, {recall}, {shown.missing:,} missing, {shown.outdated:,} outdated."
    )


def health_markdown(health: IndexHealth) -> str:
    """Return the checks, the spaces and the sources as markdown."""
    verdict = "not in order" if health.failed else "in order"
    checks = "\n".join(
        f"| {check.name} | {'yes' if check.passed else '**NO**'} | {code(check.found)} |"
        for check in health.checks
    )
    spaces = "\n".join(_space_row(space) for space in health.spaces)
    sources = "\n".join(
        f"| {code(source.uri)} | {age(source.listed_at, health.checked_at)} |"
        f" {age(source.synced_at, health.checked_at)} |"
        for source in health.sources
    )
    held = f"{code(health.held_by)} is changing it right now.\n\n" if health.held_by else ""
    recall = "not needed: exact" if health.recall is None else f"{health.recall:.3f}"
    return (
        f"# {code(health.space.index)} is {verdict}\n\n{held}"
        f"Checked at {health.checked_at:%Y-%m-%d %H:%M} UTC; recall@10 now: {recall}.\n\n"
        f"| check | held | found |\n| --- | --- | --- |\n{checks}\n\n"
        "| space | status | rows | missing | outdated | gone | dead rows | table | indexes |"
        f" HNSW |\n| {' | '.join(['---'] * 10)} |\n{spaces}\n\n"
        f"| bucket | last listed | last synced |\n| --- | --- | --- |\n{sources}\n"
    )


def _space_row(found: SpaceHealth) -> str:
    report, space = found.report, found.report.space
    return (
        f"| {space.space_id}: {code(space.label)} | {space.status} |"
        f" {report.rows:,} | {report.missing:,} | {report.outdated:,} | {report.gone:,} |"
        f" {found.dead_rows:,} | {_megabytes(found.table_bytes)} |"
        f" {_megabytes(found.index_bytes)} | {', '.join(found.approximate) or 'none'} |"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
