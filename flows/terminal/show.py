"""How a terminal shows what a flow came to.

Names come from buckets and users: none is read as markup, and none moves the cursor.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from flows.terminal.outcomes import (
    DuplicatesOutcome,
    SimilarOutcome,
    SyncOutcome,
    dropped_sentence,
    switched_sentence,
)
from tasks.core.google.storage import object_link
from tasks.core.maintenance.drop_space import DroppedSpace
from tasks.core.pictures.sheet import how_many_drawn
from tasks.core.reports.duplicates import DuplicatesReport
from tasks.core.reports.similar import MEASURES
from tasks.core.reports.spaces import COLUMNS, space_cells, spaces_sentence
from tasks.core.runs.summary import RunSummary
from tasks.core.settings import get_settings
from tasks.core.spaces.drift import SpaceReport
from tasks.core.text import count, dollars, printable
from tasks.core.types import SyncPlan, Verdict


def show_sync(outcome: SyncOutcome) -> None:
    """Print the nearest images, the counts, and where the files and the run are."""
    console = Console()
    if outcome.verdict is None or outcome.summary is None:
        _show_plan(console, outcome.plan)
    else:
        _show_neighbours(console, outcome.verdict)
        _show_lines(console, _result_lines(outcome, outcome.summary))
    _show_lines(console, [_run_line(outcome.run_url)])


def show_similar(outcome: SimilarOutcome) -> None:
    """Print the nearest images, and where the picture and the run are."""
    console, answer = Console(), outcome.answer
    table = _table(f"Nearest to {answer.question.label}")
    table.add_column("rank", justify="right")
    table.add_column("image", overflow="fold")
    table.add_column(MEASURES[answer.question.metric], justify="right")
    settings = get_settings()
    for rank, found in enumerate(answer.neighbours, start=1):
        link = object_link(settings, found.bucket, found.image_id)
        name = _text(found.image_id, Style(link=link))
        table.add_row(str(rank), name, f"{found.distance:.4f}")
    console.print(table)
    lines = [("warning", warning) for warning in answer.warnings]
    if drawn := how_many_drawn(len(answer.neighbours)):
        lines.append(("note", drawn))
    space = answer.space
    asked = f"{space.index} ({space.label}), {count(answer.calls, 'call')}"
    lines += [("asked", asked), ("picture", str(outcome.picture))]
    _show_lines(console, [*lines, _run_line(outcome.run_url)])


def show_duplicates(outcome: DuplicatesOutcome) -> None:
    """Print the first groups, and where all of them, their picture and the run are."""
    console, report = Console(), outcome.report
    if report.first:
        console.print(_groups(report))
    lines = [
        ("found", report.sentence),
        ("CSV", str(report.csv)),
        ("picture", str(report.picture or "none: there is nothing to show")),
    ]
    _show_lines(console, [*lines, _run_line(outcome.run_url)])


def _groups(report: DuplicatesReport) -> Table:
    shown = len(report.first)
    all_shown = shown == report.groups
    table = _table("The groups" if all_shown else f"The first {shown} of {report.groups:,} groups")
    table.add_column("group", justify="right")
    table.add_column("images", justify="right")
    table.add_column("L2 apart", justify="right")
    table.add_column("such as", overflow="fold")
    for number, group in enumerate(report.first, start=1):
        row = (str(number), f"{group.images:,}", f"{group.distance:.4f}")
        table.add_row(*row, Text("\n".join(map(printable, group.names))))
    return table


def show_switched(report: SpaceReport) -> None:
    """Print which space an index shows now, and what changed since it last served."""
    show_sentence(switched_sentence(report))


def show_dropped(report: DroppedSpace) -> None:
    """Print which space was deleted."""
    show_sentence(dropped_sentence(report))


def show_spaces(index: str, reports: Sequence[SpaceReport]) -> None:
    """Print the spaces of an index, the newest first, and below what each is made of."""
    console = Console()
    table = _table(spaces_sentence(index, reports))
    # In a terminal of 80 columns there is no room for the last one: it goes below.
    for column in COLUMNS[:-1]:
        table.add_column(column, justify="left" if column == "status" else "right")
    lines = []
    for report in reports:
        *cells, published = space_cells(report)
        table.add_row(*cells)
        space = report.space
        lines.append((f"space {space.space_id}", f"{space.label}; published: {published}"))
    console.print(table)
    _show_lines(console, lines)


def show_sentence(sentence: str) -> None:
    """Print a sentence that may hold names."""
    print(printable(sentence))


def _calls(plan: SyncPlan) -> str:
    return count(plan.calls, "call")


def _show_plan(console: Console, plan: SyncPlan) -> None:
    table = _table("Plan: nothing was called or deleted")
    table.add_column("images")
    table.add_column("how many", justify="right")
    table.add_column("calls", justify="right")
    table.add_column("such as", overflow="fold")
    table.add_row("unchanged", f"{plan.unchanged:,}", "0", "")
    for change in plan.changes:
        examples = _text(", ".join(change.examples))
        table.add_row(change.kind, f"{change.images:,}", f"{change.calls:,}", examples)
    console.print(table)
    if plan.recovered:
        free = f"{count(plan.recovered, 'vector')} that a dead run had paid for need no call"
        _show_lines(console, [("paid for", free)])
    if plan.taken_over:
        free = f"{count(plan.taken_over, 'vector')} that another index has need no call"
        _show_lines(console, [("known", free)])
    price = f"{dollars(plan.price)} for {_calls(plan)}, {plan.seconds_at_quota:,.0f} s at quota"
    _show_lines(console, [("price", price)])


def _show_neighbours(console: Console, verdict: Verdict) -> None:
    table = _table(f"Nearest to {verdict.query}")
    table.add_column("rank", justify="right")
    table.add_column("image", overflow="fold")
    table.add_column("L2 distance", justify="right")
    for rank, neighbour in enumerate(verdict.neighbours, start=1):
        table.add_row(str(rank), _text(neighbour.image_id), f"{neighbour.distance:.4f}")
    console.print(table)


def _result_lines(outcome: SyncOutcome, summary: RunSummary) -> list[tuple[str, str]]:
    pace, answers = summary.images_per_second, summary.totals.answers
    return [
        ("images", f"{summary.listing.images:,} listed: {outcome.sentence}"),
        ("pace", f"{pace:,.1f} images/s" if pace else "nothing had to be asked"),
        ("price", f"{dollars(summary.price)} on Vertex AI for {count(answers, 'answer')}"),
        ("CSV", str(outcome.csv or "none: nothing was embedded")),
        ("picture", str(outcome.contact_sheet or "none: there is nothing to show")),
    ]


def _run_line(url: str | None) -> tuple[str, str]:
    return ("run", url or "not recorded: no Prefect server")


def _show_lines(console: Console, lines: list[tuple[str, str]]) -> None:
    for name, value in lines:
        line = Text.assemble((f"{name:>8}  ", "bold"), printable(value))
        console.print(line, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=_text(title), title_justify="left")


def _text(text: str, style: Style | str = "") -> Text:
    return Text(printable(text), style)
