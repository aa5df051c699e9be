"""Show what was found about an index, for people."""

from collections.abc import Sequence

from tasks.core.maintenance.check_index import IndexHealth, SpaceHealth, age
from tasks.core.reports.markdown import code, prose
from tasks.core.reports.spaces import list_spaces
from tasks.core.spaces.drift import SpaceReport
from tasks.core.text import count


def health_sentence(health: IndexHealth) -> str:
    """Return the outcome in a line."""
    shown = _shown(health)
    left = f" ({health.left:,} left for the next run)" if health.left else ""
    recall = "exact searches" if health.recall is None else f"recall {health.recall:.3f}"
    elsewhere = f", {count(shown.elsewhere, 'row')} not compared" if shown.elsewhere else ""
    return (
        f"{health.space.index} is {'not in order' if health.failed else 'in order'}:"
        f" {count(shown.rows, 'row')}, {recall}, {shown.missing:,} missing,"
        f" {shown.outdated:,} outdated{left}{elsewhere}."
    )


def health_markdown(health: IndexHealth) -> str:
    """Return the checks, the spaces and the sources as markdown."""
    verdict = "not in order" if health.failed else "in order"
    checks = "\n".join(
        f"- **{'yes' if check.passed else 'NO'}**: {check.name}: {prose(check.found)}"
        for check in health.checks
    )
    sources = "\n".join(
        f"| {code(source.uri)} | {age(source.listed_at, health.checked_at)} |"
        f" {age(source.synced_at, health.checked_at)} |"
        for source in health.sources
    )
    held = f"{code(health.held_by)} is changing it right now.\n\n" if health.held_by else ""
    recall = "searches are exact" if health.recall is None else f"recall@10 is {health.recall:.3f}"
    return (
        f"# {code(health.space.index)} is {verdict}\n\n{held}"
        f"Checked at {health.checked_at:%Y-%m-%d %H:%M} UTC; {recall}.\n\n"
        f"{checks}\n\n{_not_compared(_shown(health))}"
        f"{_spaces(health.spaces)}\n"
        f"| bucket | last listed | last synced |\n| --- | --- | --- |\n{sources}\n"
    )


def _shown(health: IndexHealth) -> SpaceReport:
    return next(s.report for s in health.spaces if s.report.space == health.space)


def _not_compared(shown: SpaceReport) -> str:
    """Return what the check of drift says nothing about, and why, where that is something."""
    if not shown.elsewhere or shown.listing is None:
        return ""
    listing = shown.listing
    place = code(f"gs://{listing.bucket}/{listing.prefix}")
    return (
        f"Only the last listing of an index is kept, here that of {place}. Not compared with"
        f" theirs: {count(shown.elsewhere, 'row')} of other buckets or prefixes.\n\n"
    )


def _spaces(spaces: Sequence[SpaceHealth]) -> str:
    """Return two tables and a list: Prefect's interfaces have no room for one as wide."""
    drift, sizes = "", ""
    for found in spaces:
        report, space = found.report, found.report.space
        drift += (
            f"| {space.space_id} | {space.status} |"
            f" {report.rows:,} | {report.missing:,} | {report.outdated:,} | {report.gone:,} |\n"
        )
        sizes += (
            f"| {space.space_id} | {_megabytes(found.table_bytes)} |"
            f" {_megabytes(found.index_bytes)} | {', '.join(found.approximate) or 'none'} |"
            f" {found.dead_rows:,} |\n"
        )
    return (
        "| space | status | rows | missing | outdated | gone |\n"
        f"| {' | '.join(['---'] * 6)} |\n{drift}\n"
        "| space | table | indexes | HNSW | dead rows |\n"
        f"| {' | '.join(['---'] * 5)} |\n{sizes}\n"
        f"{list_spaces([found.report.space for found in spaces])}"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
