"""Show the spaces of an index, and what readers would see in each."""

from collections.abc import Sequence

from tasks.core.reports.markdown import code
from tasks.core.spaces.drift import SpaceReport
from tasks.core.spaces.registry import Space
from tasks.core.text import count

COLUMNS = ("space", "status", "vectors", "images shown", "missing", "refused", "published")


def spaces_sentence(index: str, reports: Sequence[SpaceReport]) -> str:
    """Return what the spaces were compared with, in a line."""
    seen = reports[0].seen if reports else 0
    return f"The spaces of {index} against the {count(seen, 'image')} that it shows; times are UTC."


def spaces_markdown(index: str, reports: Sequence[SpaceReport]) -> str:
    """Return the spaces as a table of short cells, and what each is made of below it."""
    rows = "".join(f"| {' | '.join(space_cells(report))} |\n" for report in reports)
    return (
        f"# The spaces of {code(index)}\n\n"
        f"| {' | '.join(COLUMNS)} |\n| {' | '.join(['---'] * len(COLUMNS))} |\n{rows}\n"
        f"{describe_spaces([report.space for report in reports])}"
    )


def describe_spaces(spaces: Sequence[Space]) -> str:
    """Return what each space is made of as a markdown list: Prefect's tables break no line."""
    return "".join(f"- space {space.space_id}: {code(space.label)}\n" for space in spaces)


def space_cells(report: SpaceReport) -> tuple[str, ...]:
    """Return what a space is and holds, a cell for each of COLUMNS."""
    space, losses = report.space, report.losses
    numbers = (report.vectors, report.shown, losses.missing.images, losses.refused.images)
    published = f"{space.published_at:%Y-%m-%d %H:%M}" if space.published_at else "never"
    return str(space.space_id), space.status, *(f"{number:,}" for number in numbers), published
