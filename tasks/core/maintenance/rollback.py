"""Go back to a space that readers saw before."""

from collections.abc import Sequence
from datetime import UTC, datetime

from tasks.core.database.connections import Connection, Database
from tasks.core.database.locks import find_holder
from tasks.core.errors import GuardStopped, InvalidInput, SpaceBusy
from tasks.core.runs.space_lock import space_key
from tasks.core.spaces import registry
from tasks.core.spaces.drift import SpaceReport, report_space
from tasks.core.spaces.registry import Space, find_shown_space
from tasks.core.spaces.view import hold_index, show_space

LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def list_spaces(database: Database, index: str) -> tuple[SpaceReport, ...]:
    """Return the spaces of an index, the newest first; none where there is no such index."""
    async with database.connection() as connection:
        shown = await find_shown_space(connection, index)
        spaces = await registry.list_spaces(connection, index)
        return tuple([await report_space(connection, space, shown) for space in spaces])


async def switch_space(
    database: Database, index: str, space_id: int | None, max_incomplete: float
) -> SpaceReport:
    """Lead an index's view to another of its spaces, in one transaction; nothing is embedded.

    Args:
        database: an open one.
        index: the view's name.
        space_id: the space to show; None is the one that was published before the present one.
        max_incomplete: share of the images that readers see that may have no vector in it. Those
            that the space was refused are named, and do not count.

    Raises:
        InvalidInput: there is no such space, or none to go back to.
        GuardStopped: it was never published, or is less complete than that.
        SpaceBusy: a run holds the space that readers see, and would show it again at its end.
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: the view belongs to another role.
    """
    async with database.transaction() as connection:
        await hold_index(connection, index)
        chosen = choose_space(await registry.list_spaces(connection, index), index, space_id)
        _require_published(chosen)
        shown = await find_shown_space(connection, index)
        if shown is not None:
            await _require_free(connection, shown)
        report = await report_space(connection, chosen, shown)
        _check_completeness(report, max_incomplete)
        await show_space(connection, chosen, database.extension_schema)
    return report


def choose_space(spaces: Sequence[Space], index: str, space_id: int | None) -> Space:
    """Return the space of an index that has a number; for None, the one published before.

    Raises:
        InvalidInput: there is none.
    """
    if not spaces:
        raise InvalidInput(f"There is no index {index!r}. The flow embed-images makes one.")
    if space_id is None:
        retired = [space for space in spaces if space.status == "retired"]
        if not retired:
            raise InvalidInput(f"Index {index!r} has no earlier space to go back to.")
        return max(retired, key=lambda space: space.published_at or LONG_AGO)
    for space in spaces:
        if space.space_id == space_id:
            return space
    known = ", ".join(str(space.space_id) for space in spaces)
    raise InvalidInput(f"Index {index!r} has no space {space_id}; it has {known}.")


def _require_published(space: Space) -> None:
    if space.published_at is None:
        raise GuardStopped(
            f"Space {space.space_id} was never shown: it has not passed the gate. Run embed-images"
            f" with {space.parameters} to finish and publish it."
        )


async def _require_free(connection: Connection, shown: Space) -> None:
    holder = await find_holder(connection, space_key(shown.kind))
    if holder is not None:
        raise SpaceBusy(
            f"Space {shown.space_id}, which index {shown.index!r} shows, is held by a run"
            f" ({holder}) that would show it again at its end. Nothing was changed. Wait for"
            " the run to end, or cancel it."
        )


def _check_completeness(report: SpaceReport, max_incomplete: float) -> None:
    space = report.space
    if report.incomplete > max_incomplete:
        raise GuardStopped(
            f"Space {space.space_id} is not shown. {report.changes} At most {max_incomplete:.1%}"
            f" may be without a vector, and {report.incomplete:.1%} are. Run embed-images with"
            f" {space.parameters} to bring it up to date, or set"
            f" max_incomplete={min(1.0, report.incomplete + 0.001):.3f}."
        )
