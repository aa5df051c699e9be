from markdown_it import MarkdownIt

from tasks.core.reports.summary import summary_markdown
from tasks.core.runs.summary import RunSummary, RunTotals
from tasks.core.types import Listing


def summary(index: str = "photos", skipped: dict[str, int] | None = None) -> RunSummary:
    return RunSummary(
        run_id=7,
        index=index,
        listing=Listing(objects=12_345, images=12_000, skipped=skipped or {}),
        plan=None,
        reused=1,
        removed=2,
        totals=RunTotals(
            embedded=3, refused=4, gone=5, pending=6, calls=8, answers=9, deferrals=10
        ),
        price=0.0009,
        images_per_second=9.87,
        seconds={"list_images": 1.5, "embed_batches": 2.25},
    )


def rows(markdown: str) -> dict[str, str]:
    """Return the two tables' rows as a reader of markdown sees them; each must have two cells."""
    found: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline" and found:
            found[-1].append(token.content)
    return {name: value for name, value in found}  # noqa: C416 - proves that each row has two


def test_every_count_is_shown_under_its_name() -> None:
    shown = rows(summary_markdown(summary(skipped={"empty": 300, "not an image": 45}), "completed"))
    expected = {
        "objects listed": "12,345",
        "images among them": "12,000",
        "objects skipped": "345 (300 empty; 45 not an image)",
        "unchanged": "0",
        "reused without a call": "1",
        "removed": "2",
        "embedded": "3",
        "refused": "4",
        "gone since the listing": "5",
        "left for the next run": "6",
        "calls": "8",
        "429s (deferred)": "10",
        "images a second": "9.9",
        "price on Vertex AI": "$0.0009",
        "list_images": "1.50",
        "embed_batches": "2.25",
    }
    assert expected.items() <= shown.items()


def test_the_heading_says_which_run_and_how_it_ended() -> None:
    text = summary_markdown(summary("a`b"), "failed (GateFailed)")
    assert text.startswith("# Run 7 of index `a'b`: failed (GateFailed)\n")


def test_an_index_name_cannot_leave_the_heading() -> None:
    text = summary_markdown(summary("a\nb"), "completed")
    assert text.splitlines()[0].endswith(": completed")
