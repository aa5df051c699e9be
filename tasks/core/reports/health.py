"""Show what was found about an index, for people."""

from collections.abc import Sequence

from tasks.core.maintenance.check_index import IndexHealth, TableSize, age
from tasks.core.reports.markdown import code, codes, prose
from tasks.core.reports.spaces import describe_spaces
from tasks.core.spaces.drift import Drift
from tasks.core.text import count


def health_sentence(health: IndexHealth) -> str:
    """Return the outcome in a line."""
    drift = health.drift
    left = f" ({drift.leftover:,} left for the next run)" if drift.leftover else ""
    recall = "exact searches" if health.recall is None else f"recall {health.recall:.3f}"
    beside = f", {count(drift.not_compared, 'image')} not compared" if drift.not_compared else ""
    return (
        f"{health.space.index} is {'not in order' if health.failed else 'in order'}:"
        f" {count(drift.shown, 'image')}, {recall}, {drift.missing:,} missing,"
        f" {drift.outdated:,} outdated{left}, {drift.gone:,} gone{beside}."
    )


def health_markdown(health: IndexHealth) -> str:
    """Return the checks, the spaces and the sources as markdown."""
    verdict = "not in order" if health.failed else "in order"
    checks = "\n".join(
        f"- **{'yes' if check.passed else 'NO'}**: {check.name}: {prose(check.found)}"
        for check in health.checks
    )
    sources = [
        (
            code(source.uri),
            *(age(at, health.checked_at) for at in (source.listed_at, source.published_at)),
        )
        for source in health.sources
    ]
    held = f"{code(health.held_by)} is at work on it right now.\n\n" if health.held_by else ""
    recall = "searches are exact" if health.recall is None else f"recall@10 is {health.recall:.3f}"
    return (
        f"# {code(health.space.index)} is {verdict}\n\n{held}"
        f"Checked at {health.checked_at:%Y-%m-%d %H:%M} UTC; {recall}.\n\n"
        f"{checks}\n\n{_not_compared(health.drift)}"
        f"{_spaces(health)}\n"
        f"{_table(('bucket', 'last listed', 'last published'), sources)}"
    )


def _not_compared(drift: Drift) -> str:
    """Return what the check of drift says nothing about, and why, where that is something."""
    if not drift.not_compared:
        return ""
    kept = codes(
        listing.uri + ("" if listing.whole else " (cut short)") for listing in drift.listings
    )
    return (
        "Only the last listing of an index is kept, and those of runs that were under way then:"
        f" {kept or 'there is none'}. Not compared: {count(drift.not_compared, 'image')} of other"
        " buckets or prefixes.\n\n"
    )


def _spaces(health: IndexHealth) -> str:
    """Return two tables and a list: Prefect's interfaces have no room for one as wide."""
    shown = [
        (
            str(report.space.space_id),
            report.space.status,
            f"{report.vectors:,}",
            f"{report.shown:,}",
            f"{report.losses.missing.images:,}",
            f"{report.losses.refused.images:,}",
        )
        for report in (found.report for found in health.spaces)
    ]
    sizes = [("images", *_size(health.images, "none"))]
    for found in health.spaces:
        approximate = ", ".join(found.approximate) or "none"
        sizes.append((f"space {found.report.space.space_id}", *_size(found.size, approximate)))
    return (
        f"{_table(('space', 'status', 'vectors', 'images shown', 'missing', 'refused'), shown)}\n"
        f"{_table(('table', 'size', 'indexes', 'HNSW', 'dead rows'), sizes)}\n"
        f"{describe_spaces([found.report.space for found in health.spaces])}"
    )


def _size(size: TableSize, approximate: str) -> tuple[str, ...]:
    megabytes = (f"{taken / 1_000_000:,.1f} MB" for taken in (size.table_bytes, size.index_bytes))
    return *megabytes, approximate, f"{size.dead_rows:,}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
