"""Show the spaces of an index, and how each compares with the index's last listing."""

from collections.abc import Sequence

from tasks.core.reports.markdown import code
from tasks.core.spaces.drift import SpaceReport
from tasks.core.types import Space

COLUMNS = ("space", "status", "rows", "missing", "outdated", "gone", "not compared", "published")


def spaces_sentence(index: str, reports: Sequence[SpaceReport]) -> str:
    """Return what the spaces were compared with, in a line."""
    return f"The spaces of {index} against {_listing(reports)}; times are UTC."


def spaces_markdown(index: str, reports: Sequence[SpaceReport]) -> str:
    """Return the spaces as a table of short cells, and what each is made of below it."""
    rows = "".join(f"| {' | '.join(space_cells(report))} |\n" for report in reports)
    return (
        f"# The spaces of {code(index)}\n\n"
        f"| {' | '.join(COLUMNS)} |\n| {' | '.join(['---'] * len(COLUMNS))} |\n{rows}\n"
        f"{list_spaces([report.space for report in reports])}"
    )


def list_spaces(spaces: Sequence[Space]) -> str:
    """Return what each space is made of as a markdown list: Prefect's tables break no line."""
    return "".join(f"- space {space.space_id}: {code(space.label)}\n" for space in spaces)


def space_cells(report: SpaceReport) -> tuple[str, ...]:
    """Return what a space is and holds, a cell for each of COLUMNS."""
    counts = (report.rows, report.missing, report.outdated, report.gone, report.elsewhere)
    published = f"{report.published_at:%Y-%m-%d %H:%M}" if report.published_at else "never"
    space = report.space
    return str(space.space_id), space.status, *(f"{count:,}" for count in counts), published


def _listing(reports: Sequence[SpaceReport]) -> str:
    listing = reports[0].listing if reports else None
    if listing is None:
        return "no listing: none is kept"
    return f"{listing}{'' if listing.whole else ', cut short'}"
