import pytest
from markdown_it import MarkdownIt

from tasks.core.embedding.outcomes import LeftoverGroup, most_leftovers
from tasks.core.reports.outcomes import leftovers_markdown

GROUPS = (
    LeftoverGroup("The service answered *UNAVAILABLE*.\n# Again!", 1_234, ("a|b.png", "c_d_.png")),
    LeftoverGroup("No answer came in 60 s.", 1, ("e.png",)),
)


def paragraphs(markdown: str) -> list[tuple[str, str]]:
    """Return the headings and paragraphs as a reader of markdown sees them, with their kind."""
    found: list[tuple[str, str]] = []
    kind = ""
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type.endswith("_open"):
            kind = token.tag if token.tag != "p" or kind != "blockquote" else "quote"
        elif token.type == "inline":
            text = "".join(child.content for child in token.children or ())
            found.append((kind, text))
    return found


def test_what_is_left_is_a_heading_a_reason_and_its_examples() -> None:
    assert paragraphs(leftovers_markdown(GROUPS)) == [
        ("h1", "Left for the next run"),
        ("h2", "1,234 images"),
        ("quote", "The service answered *UNAVAILABLE*. # Again!"),
        ("p", "Such as a|b.png, c_d_.png ..."),
        ("h2", "1 image"),
        ("quote", "No answer came in 60 s."),
        ("p", "Such as e.png"),
    ]


@pytest.mark.parametrize(
    ("listed", "share", "most"),
    [
        (50, 0.01, 1),
        (2, 0.01, 1),
        (1, 0.99, 0),
        (1, 1.0, 1),
        (100, 0.01, 1),
        (101, 0.01, 2),
        (100, 0.07, 7),
        (1_000_000, 0.01, 10_000),
        (3, 1e-6, 1),
        (3, 1.0, 3),
        (1_000_000, 0.0, 0),
        (0, 0.01, 0),
    ],
)
def test_a_share_above_none_lets_one_of_a_few_be_left_not_all(
    listed: int, share: float, most: int
) -> None:
    assert most_leftovers(listed, share) == most
