"""Go back to a space that served before, and remove one that is not needed any more."""

from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.core.errors import GuardStopped, InvalidInput
from tasks.core.holds import IndexHold
from tasks.core.postgres import Connection, Database
from tasks.core.spaces import activate, read_space, space_table
from tasks.core.statements import sql
from tasks.core.types import Space

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """A space of an index, and how it compares with the index's last listing.

    Attributes:
        rows: vectors in it; `recall`: of its index when it was last verified, None without one.
        listed: images in the last listing.
        missing: of these, without a vector here; `outdated`: with one of an older version.
        gone: vectors here whose image is not listed any more.
    """

    space: Space
    rows: int
    recall: float | None
    published_at: datetime | None
    listed: int
    missing: int
    outdated: int
    gone: int

    @property
    def incomplete(self) -> float:
        """The share of the listing that this space would show wrongly or not at all."""
        return (self.missing + self.outdated) / self.listed if self.listed else 0.0


async def list_spaces(database: Database, index: str) -> tuple[SpaceReport, ...]:
    """Return the spaces of an index, the newest first; none where there is no such index."""
    async with database.connection() as connection:
        rows = await connection.fetch(sql("select_spaces"), index)
        return tuple([await _report(connection, row) for row in rows])


async def _report(connection: Connection, row: dict[str, object]) -> SpaceReport:
    space = read_space(row)
    compared = await connection.fetchrow(
        sql("compare_space", table=space_table(space)), space.index, space.space_id
    )
    rows = await connection.fetchval(sql("count_rows", table=space_table(space)))
    published_at = row["published_at"]
    recall = row["recall"]
    return SpaceReport(
        space=space,
        rows=rows,
        recall=recall if isinstance(recall, float) else None,
        published_at=published_at if isinstance(published_at, datetime) else None,
        **compared,
    )


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
    hold = IndexHold(database, index, "birdwalk rollback")
    await hold.take()
    try:
        report = _choose(await list_spaces(database, index), index, space_id)
        _refuse_unfit(report, max_incomplete)
        async with database.transaction() as connection:
            await activate(connection, report.space)
    finally:
        await hold.release()
    return report


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
            f"Space {space.space_id} lacks {report.missing:,} images and has"
            f" {report.outdated:,} outdated ones of {report.listed:,} listed"
            f" ({report.incomplete:.1%}); at most {max_incomplete:.1%} may be. {remedy} to bring it"
            f" up to date, or set max_incomplete={min(1.0, report.incomplete + 0.001):.3f}."
        )


def _choose(reports: tuple[SpaceReport, ...], index: str, space_id: int | None) -> SpaceReport:
    if not reports:
        raise InvalidInput(f"There is no index {index!r}. The flow embed-images makes one.")
    if space_id is None:
        retired = [report for report in reports if report.space.status == "retired"]
        if not retired:
            raise InvalidInput(f"Index {index!r} has no earlier space to go back to.")
        return max(retired, key=lambda report: report.published_at or LONG_AGO)
    for report in reports:
        if report.space.space_id == space_id:
            return report
    known = ", ".join(str(report.space.space_id) for report in reports)
    raise InvalidInput(f"Index {index!r} has no space {space_id}; it has {known}.")


async def drop_space(database: Database, index: str, space_id: int) -> SpaceReport:
    """Delete a space that is not shown, with its vectors and refusals.

    Raises:
        InvalidInput: there is no such space, or it is the one that readers see.
        IndexBusy: a run holds the index.
    """
    hold = IndexHold(database, index, "birdwalk drop-space")
    await hold.take()
    try:
        report = _choose(await list_spaces(database, index), index, space_id)
        if report.space.status == "active":
            raise InvalidInput(
                f"Space {space_id} is what index {index!r} shows: it was left alone. Publish"
                " another space first."
            )
        async with database.transaction() as connection:
            await connection.execute(sql("delete_space"), space_id)
            await connection.execute(sql("drop_space_table", table=space_table(report.space)))
    finally:
        await hold.release()
    return report
