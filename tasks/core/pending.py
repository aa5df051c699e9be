"""What a run leaves for the next one, by reason, and whether that is more than it may."""

import math
from dataclasses import dataclass
from decimal import Decimal

from tasks.core.errors import TooManyPending
from tasks.core.markdown import codes, prose
from tasks.core.run import Run
from tasks.core.statements import sql
from tasks.core.wording import count


@dataclass(frozen=True, slots=True)
class PendingGroup:
    """Images left for one reason: no vector could be had in the time allowed, but may be later."""

    reason: str
    images: int
    examples: tuple[str, ...]


async def list_pending(run: Run) -> tuple[PendingGroup, ...]:
    """Return the images that are left, the commonest reason first."""
    async with run.database.connection() as connection:
        rows = await connection.fetch(sql("select_pending"), run.run_id)
    return tuple(PendingGroup(row["reason"], row["images"], tuple(row["examples"])) for row in rows)


def pending_markdown(groups: tuple[PendingGroup, ...]) -> str:
    """Return what is left as markdown, a paragraph a reason: a reason is a sentence or three."""
    pages = [
        f"## {count(group.images, 'image')}\n\n"
        f"> {prose(group.reason)}\n\nSuch as {codes(group.examples)}"
        f"{' ...' if group.images > len(group.examples) else ''}\n"
        for group in groups
    ]
    return "# Left for the next run\n\n" + "\n".join(pages)


def most_pending(listed: int, share: float) -> int:
    """Return how many of so many images may be left: the share of them, rounded up.

    So a share above 0 lets a run on a few images leave one of them, and 0 lets none. Only a
    share of 1 lets it leave all.
    """
    # As it was written: the float nearest to 0.07, times 100, is above 7.
    most = math.ceil(Decimal(str(share)) * listed)
    return most if share == 1 else min(most, max(0, listed - 1))


def refuse_too_many_pending(run: Run, pending: tuple[PendingGroup, ...]) -> None:
    """Let a run pass that leaves few images, or fail it.

    Raises:
        TooManyPending: more of the listed images are left than max_pending allows.
    """
    left = sum(group.images for group in pending)
    listed = run.listing.images if run.listing else 0
    most = most_pending(listed, run.options.max_pending)
    if left <= most:
        return
    share = left / max(listed, 1)
    raise TooManyPending(
        f"{left:,} of {count(listed, 'image')} ({share:.1%}) got no vector in their time; at most"
        f" {most:,} ({run.options.max_pending:.1%}) may be left for the next run. Most often:"
        f" {pending[0].reason} The vectors of the others are kept. Run again, which asks for the"
        " rest; look at the artifact `pending`; if so many may be left, set"
        f" max_pending={min(1.0, round(share + 0.0005, 3)):g}."
    )
