"""Show a sync's outcome in a terminal."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.core.summary import RunSummary
from tasks.core.types import CsvReport, Verdict


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What a run made: its counts, the gate's verdict, and where to look."""

    summary: RunSummary
    verdict: Verdict
    csv: CsvReport
    contact_sheet: Path
    run_url: str | None


def show_sync(outcome: SyncOutcome) -> None:
    """Print the nearest images, the counts, and where the files and the run are."""
    console = Console()
    summary, verdict, totals = outcome.summary, outcome.verdict, outcome.summary.totals
    table = Table(title=f"Nearest to {verdict.query}", title_justify="left", title_style="bold")
    table.add_column("rank", justify="right")
    table.add_column("image", overflow="fold")
    table.add_column("L2 distance", justify="right")
    for rank, neighbour in enumerate(verdict.neighbours, start=1):
        table.add_row(str(rank), Text(neighbour.image_id), f"{neighbour.distance:.4f}")
    console.print(table)
    pace = summary.images_per_second
    done = f"{totals.embedded:,} embedded, {totals.refused:,} refused"
    lines = [
        (
            "images",
            f"{summary.listing.images:,} listed, {summary.unchanged:,} unchanged, {done}",
        ),
        ("pace", f"{pace:,.1f} images/s" if pace else "nothing had to be asked"),
        ("price", f"${summary.price:,.4f} on Vertex AI for {summary.totals.answers:,} answers"),
        ("CSV", str(outcome.csv.path or "none: nothing was embedded")),
        ("picture", str(outcome.contact_sheet) if verdict.neighbours else "none"),
        ("run", outcome.run_url or "not recorded: no Prefect server"),
    ]
    for name, value in lines:
        console.print(Text.assemble((f"{name:>8}  ", "bold"), value), soft_wrap=True)
