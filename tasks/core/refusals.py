"""What the model refused, by reason, and whether that is more than the run may have."""

from dataclasses import dataclass
from datetime import datetime

from tasks.core.errors import TooManyRefusals
from tasks.core.markdown import codes, prose
from tasks.core.run import Run
from tasks.core.spaces import find_space
from tasks.core.statements import sql
from tasks.core.wording import count


@dataclass(frozen=True, slots=True)
class RefusalGroup:
    """Images refused for one reason; `attempts` is the most that one of them took."""

    reason: str
    images: int
    attempts: int
    last_refused: datetime
    examples: tuple[str, ...]


async def list_refusals(run: Run) -> tuple[RefusalGroup, ...]:
    """Return the refusals among the listed images, the commonest reason first."""
    space = await find_space(run)
    async with run.database.connection() as connection:
        rows = await connection.fetch(
            sql("select_refusals"), space.space_id, run.options.bucket, run.run_id
        )
    return tuple(
        RefusalGroup(
            reason=row["reason"],
            images=row["images"],
            attempts=row["attempts"],
            last_refused=row["last_refused"],
            examples=tuple(row["examples"]),
        )
        for row in rows
    )


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


def refuse_too_many(run: Run, refusals: tuple[RefusalGroup, ...]) -> None:
    """Let a run pass whose refusals are few, or fail it.

    Raises:
        TooManyRefusals: their share of the listed images is above max_refusals.
    """
    refused = sum(group.images for group in refusals)
    listed = run.listing.images if run.listing else 0
    share = refused / max(listed, 1)
    if share <= run.options.max_refusals:
        return
    raise TooManyRefusals(
        f"{refused:,} of {count(listed, 'image')} ({share:.1%})"
        f" {'was' if refused == 1 else 'were'} refused; at most"
        f" {run.options.max_refusals:.1%} may be. Most often: {refusals[0].reason} The vectors of"
        " the others are kept. Look at the artifact `refusals`; if they are meant to be there, set"
        f" max_refusals={min(1.0, round(share + 0.0005, 3)):g}."
    )
