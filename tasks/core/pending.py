"""What a run leaves for the next one, by reason, and whether that is more than it may."""

from dataclasses import dataclass

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


def refuse_too_many_pending(run: Run, pending: tuple[PendingGroup, ...]) -> None:
    """Let a run pass that leaves few images, or fail it.

    Raises:
        TooManyPending: their share of the listed images is above max_pending.
    """
    left = sum(group.images for group in pending)
    listed = run.listing.images if run.listing else 0
    share = left / max(listed, 1)
    if share <= run.options.max_pending:
        return
    raise TooManyPending(
        f"{left:,} of {count(listed, 'image')} ({share:.1%}) got no vector in their time;"
        f" at most {run.options.max_pending:.1%} may be left for the next run. Most often:"
        f" {pending[0].reason} The vectors of the others are kept. Run again, which asks for the"
        " rest; look at the artifact `pending`; if so many may be left, set"
        f" max_pending={min(1.0, round(share + 0.0005, 3)):g}."
    )
