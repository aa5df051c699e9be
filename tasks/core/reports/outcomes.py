"""What was refused, and what is left for the next run, as pages."""

from tasks.core.embedding.outcomes import LeftoverGroup, RefusalGroup
from tasks.core.reports.markdown import codes, prose
from tasks.core.text import count


def leftovers_markdown(groups: tuple[LeftoverGroup, ...]) -> str:
    """Return what is left as markdown, a paragraph a reason: a reason is a sentence or three."""
    pages = [
        f"## {count(group.images, 'image')}\n\n"
        f"> {prose(group.reason)}\n\nSuch as {codes(group.examples)}"
        f"{' ...' if group.images > len(group.examples) else ''}\n"
        for group in groups
    ]
    return "# Left for the next run\n\n" + "\n".join(pages)


def refusals_markdown(groups: tuple[RefusalGroup, ...]) -> str:
    """Return the refusals as markdown, a paragraph a reason: a reason is a sentence or three."""
    pages = [
        f"## {count(group.images, 'image')}\n\n> {prose(group.reason)}\n\n"
        f"Last refused at {group.last_refused:%Y-%m-%d %H:%M} UTC, after"
        f" {count(group.attempts, 'attempt')}: {codes(group.examples)}"
        f"{' ...' if group.images > len(group.examples) else ''}\n"
        for group in groups
    ]
    return "# Refused by the model\n\n" + "\n".join(pages)
