"""Go back to a space that served before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tasks.core.database.connections import Connection, Database
from tasks.core.errors import GuardStopped, InvalidInput
from tasks.core.runs.index_lock import IndexHold
from tasks.core.spaces.drift import (
    RegisteredSpace,
    SpaceReport,
    compare,
    find_last_listing,
    name_changes,
    registered_spaces,
)
from tasks.core.spaces.view import activate
from tasks.core.text import count

LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def list_spaces(database: Database, index: str) -> tuple[SpaceReport, ...]:
    """Return the spaces of an index, the newest first; none where there is no such index."""
    async with database.connection() as connection:
        listing = await find_last_listing(connection, index)
        spaces = await registered_spaces(connection, index)
        return tuple([await compare(connection, space, listing) for space in spaces])


async def switch_space(
    database: Database, index: str, space_id: int | None, max_incomplete: float
) -> SpaceReport:
    """Point an index's view at another of its spaces, in one transaction; nothing is embedded.

    Args:
        database: an open one.
        index: the view's name.
        space_id: the space to show; None is the one that was published before the present one.
        max_incomplete: share of the last listing that may be missing or outdated in it.

    Raises:
        InvalidInput: there is no such space, or none to go back to.
        GuardStopped: it never passed the gate, or is less complete than that.
        SpaceBusy: a run holds the index.
    """
    async with held_index(database, index, "birdwalk rollback"):
        async with database.connection() as connection:
            report = await report_space(connection, index, space_id)
            _refuse_unfit(report, max_incomplete)
        async with database.transaction() as connection:
            await activate(connection, report.space)
    return report


@asynccontextmanager
async def held_index(database: Database, index: str, holder: str) -> AsyncIterator[None]:
    """Hold an index in the block, as a run does."""
    hold = IndexHold(database, index, holder)
    await hold.take()
    try:
        yield
    finally:
        await hold.release()


async def report_space(connection: Connection, index: str, space_id: int | None) -> SpaceReport:
    """Choose a space of an index, and compare it with the last listing.

    Choose first: comparing reads a whole space and a whole listing.
    """
    chosen = _choose(await registered_spaces(connection, index), index, space_id)
    report = await compare(connection, chosen, await find_last_listing(connection, index))
    return await name_changes(connection, report)


def _refuse_unfit(report: SpaceReport, max_incomplete: float) -> None:
    space = report.space
    remedy = f"Run embed-images with {space.parameters}"
    if report.published_at is None:
        raise GuardStopped(
            f"Space {space.space_id} was never shown: it has not passed the gate. {remedy} to"
            " finish and publish it."
        )
    if report.incomplete > max_incomplete:
        raise GuardStopped(
            f"Space {space.space_id} has {report.missing:,} missing and {report.outdated:,}"
            f" outdated of {count(report.listed, 'image')} listed"
            f" ({report.incomplete:.1%}); at most {max_incomplete:.1%} may be. {report.changes}"
            f" {remedy} to bring it up to date, or set"
            f" max_incomplete={min(1.0, report.incomplete + 0.001):.3f}."
        )


def _choose(
    spaces: tuple[RegisteredSpace, ...], index: str, space_id: int | None
) -> RegisteredSpace:
    if not spaces:
        raise InvalidInput(f"There is no index {index!r}. The flow embed-images makes one.")
    if space_id is None:
        retired = [found for found in spaces if found.space.status == "retired"]
        if not retired:
            raise InvalidInput(f"Index {index!r} has no earlier space to go back to.")
        return max(retired, key=lambda found: found.published_at or LONG_AGO)
    for found in spaces:
        if found.space.space_id == space_id:
            return found
    known = ", ".join(str(found.space.space_id) for found in spaces)
    raise InvalidInput(f"Index {index!r} has no space {space_id}; it has {known}.")
