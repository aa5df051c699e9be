"""What the model refused and what a run leaves for the next one, and whether it is too much."""

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tasks.core.database.statements import statements_of
from tasks.core.errors import TooManyLeftovers, TooManyRefusals
from tasks.core.runs.run import Run
from tasks.core.text import count

sql = statements_of(__name__)


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
    async with run.database.connection() as connection:
        rows = await connection.fetch(sql("select_refusals"), run.space.space_id, run.run_id)
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


def check_refusals(run: Run, refusals: tuple[RefusalGroup, ...]) -> None:
    """Let a run pass whose refusals are few, or fail it.

    Raises:
        TooManyRefusals: their share of the listed images is above max_refusals.
    """
    refused = sum(group.images for group in refusals)
    listed = run.listed
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


@dataclass(frozen=True, slots=True)
class LeftoverGroup:
    """Images left for one reason: no vector could be had in the time allowed, but may be later."""

    reason: str
    images: int
    examples: tuple[str, ...]


async def list_leftovers(run: Run) -> tuple[LeftoverGroup, ...]:
    """Return the images that are left, the commonest reason first."""
    async with run.database.connection() as connection:
        rows = await connection.fetch(sql("select_leftovers"), run.run_id)
    return tuple(
        LeftoverGroup(row["reason"], row["images"], tuple(row["examples"])) for row in rows
    )


def most_leftovers(listed: int, share: float) -> int:
    """Return how many of so many images may be left: the share of them, rounded up.

    So a share above 0 lets a run on a few images leave one of them, and 0 lets none. Only a
    share of 1 lets it leave all.
    """
    # As it was written: the float nearest to 0.07, times 100, is above 7.
    most = math.ceil(Decimal(str(share)) * listed)
    return most if share == 1 else min(most, max(0, listed - 1))


def check_leftovers(run: Run, leftovers: tuple[LeftoverGroup, ...]) -> None:
    """Let a run pass that leaves few images, or fail it.

    Raises:
        TooManyLeftovers: more of the listed images are left than max_leftovers allows.
    """
    left = sum(group.images for group in leftovers)
    listed = run.listed
    most = most_leftovers(listed, run.options.max_leftovers)
    if left <= most:
        return
    share = left / max(listed, 1)
    raise TooManyLeftovers(
        f"{left:,} of {count(listed, 'image')} ({share:.1%}) got no vector in their time; at most"
        f" {most:,} ({run.options.max_leftovers:.1%}) may be left for the next run. Most often:"
        f" {leftovers[0].reason} The vectors of the others are kept. Run again, which asks for the"
        " rest; look at the artifact `leftovers`; if so many may be left, set"
        f" max_leftovers={min(1.0, round(share + 0.0005, 3)):g}."
    )
