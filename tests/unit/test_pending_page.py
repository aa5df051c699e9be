from markdown_it import MarkdownIt

from tasks.core.pending import PendingGroup, pending_markdown

GROUPS = (
    PendingGroup("The service answered *UNAVAILABLE*.\n# Again!", 1_234, ("a|b.png", "c_d_.png")),
    PendingGroup("No answer came in 60 s.", 1, ("e.png",)),
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
    assert paragraphs(pending_markdown(GROUPS)) == [
        ("h1", "Left for the next run"),
        ("h2", "1,234 images"),
        ("quote", "The service answered *UNAVAILABLE*. # Again!"),
        ("p", "Such as a|b.png, c_d_.png ..."),
        ("h2", "1 image"),
        ("quote", "No answer came in 60 s."),
        ("p", "Such as e.png"),
    ]
