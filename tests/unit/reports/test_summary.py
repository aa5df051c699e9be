from markdown_it import MarkdownIt

from tasks.core.reports.summary import summary_markdown
from tasks.core.runs.summary import RunSummary
from tasks.core.types import Change, Counts, Listing, SyncPlan

PLAN = SyncPlan(
    listed=12_000,
    indexed=11_000,
    unchanged=21,
    changes=(
        Change("new", 1, 1, ()),
        Change("moved or copied", 12, 0, ()),
        Change("rewritten", 13, 0, ()),
        Change("refused before", 14, 0, ()),
    ),
    recovered=15,
    taken_over=16,
    batch_size=10,
    price=0.0,
    seconds_at_quota=0.0,
    guards=(),
)


def summary(
    index: str = "photos", skipped: dict[str, int] | None = None, plan: SyncPlan | None = PLAN
) -> RunSummary:
    return RunSummary(
        run_id=7,
        index=index,
        listing=Listing(objects=12_345, images=12_000, skipped=skipped or {}),
        plan=plan,
        totals=Counts(
            embedded=3, refused=4, gone=5, leftover=6, calls=8, answers=9, retries=7, deferrals=10
        ),
        taken_over=16,
        changed=17,
        removed=2,
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
    assert shown == {
        "what": "how many",
        "objects listed": "12,345",
        "images among them": "12,000",
        "objects skipped": "345 (300 empty; 45 not an image)",
        "unchanged": "21",
        "recovered from a dead run": "15",
        "taken over from another index": "16",
        "moved, copied or rewritten, without a call": "25",
        "embedded": "3",
        "refused": "4",
        "refused before, not asked again": "14",
        "gone since the listing": "5",
        "left for the next run": "6",
        "added or changed for readers": "17",
        "removed": "2",
        "calls": "8",
        "retries": "7",
        "429s (deferred)": "10",
        "images a second": "9.9",
        "price on Vertex AI": "$0.0009",
        "step": "seconds",
        "list_images": "1.50",
        "embed_batches": "2.25",
    }


def test_a_run_that_ended_before_its_plan_has_a_summary_too() -> None:
    shown = rows(summary_markdown(summary(plan=None), "failed (BucketNotFound)"))
    assert (shown["unchanged"], shown["recovered from a dead run"]) == ("0", "0")


def test_the_heading_says_which_run_and_how_it_ended() -> None:
    text = summary_markdown(summary("a`b"), "failed (GateFailed)")
    assert text.startswith("# Run 7 of index `a'b`: failed (GateFailed)\n")


def test_an_index_name_cannot_leave_the_heading() -> None:
    text = summary_markdown(summary("a\nb"), "completed")
    assert text.splitlines()[0].endswith(": completed")
