"""Go back to a space that served before, and remove one that is not needed any more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tasks.core.comparison import (
    RegisteredSpace,
    SpaceReport,
    compare,
    find_last_listing,
    name_changes,
    registered_spaces,
)
from tasks.core.errors import GuardStopped, InvalidInput
from tasks.core.holds import IndexHold
from tasks.core.postgres import Connection, Database
from tasks.core.pruning import remove_waiting_parts
from tasks.core.settings import Settings
from tasks.core.spaces import activate, space_table
from tasks.core.statements import sql
from tasks.core.wording import count

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
        IndexBusy: a run holds the index.
    """
    async with _held(database, index, "birdwalk rollback"):
        async with database.connection() as connection:
            report = await _report(connection, index, space_id)
            _refuse_unfit(report, max_incomplete)
        async with database.transaction() as connection:
            await activate(connection, report.space)
    return report


async def drop_space(
    database: Database, settings: Settings, index: str, space_id: int
) -> SpaceReport:
    """Delete a space that is not shown, with its vectors, its refusals, and what waits for it.

    Raises:
        InvalidInput: there is no such space, or it is the one that readers see.
        IndexBusy: a run holds the index.
        PartInUse: a process of a dead run still writes.
    """
    async with _held(database, index, "birdwalk drop-space"):
        async with database.connection() as connection:
            report = await _report(connection, index, space_id)
        if report.space.status == "active":
            raise InvalidInput(
                f"Space {space_id} is what index {index!r} shows: it was left alone. Publish"
                " another space first."
            )
        async with database.connection() as connection:
            await remove_waiting_parts(connection, settings, report.space)
        async with database.transaction() as connection:
            await connection.execute(sql("delete_space"), space_id)
            await connection.execute(sql("drop_space_table", table=space_table(report.space)))
    return report


@asynccontextmanager
async def _held(database: Database, index: str, holder: str) -> AsyncIterator[None]:
    hold = IndexHold(database, index, holder)
    await hold.take()
    try:
        yield
    finally:
        await hold.release()


async def _report(connection: Connection, index: str, space_id: int | None) -> SpaceReport:
    """Choose first: comparing reads a whole space and a whole listing."""
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
