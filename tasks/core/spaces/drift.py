"""Compare a space with the last listing of its index: of one bucket and prefix, as of one time."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.spaces.registry import Space, read_space, space_table
from tasks.core.text import count

sql = statements_of(__name__)
registry_sql = statements_of("tasks.core.spaces.registry")


@dataclass(frozen=True, slots=True)
class LastListing:
    """The last listing of an index: by which run, of what, and whether no limit cut it short."""

    run_id: int
    bucket: str
    prefix: str
    listed_at: datetime
    whole: bool

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.prefix} as listed at {self.listed_at:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """A space of an index, and how it compares with the index's last listing.

    Attributes:
        rows: vectors in it; `recall`: of its index when it was last verified, None without one.
        listed: images in the last listing, but for those it was refused.
        missing: of these, without a vector here; `outdated`: with one of an older version.
        gone: vectors of the listed part whose image is not listed any more; 0 where the listing
            was cut short, which says nothing of what it does not have.
        listing: what it was compared with; None where there is none.
        elsewhere: vectors of other buckets or prefixes, which were not compared.
        examples: a few names each of what is missing, outdated and gone, where asked for.
    """

    space: Space
    rows: int
    recall: float | None
    published_at: datetime | None
    listed: int = 0
    missing: int = 0
    outdated: int = 0
    gone: int = 0
    listing: LastListing | None = None
    elsewhere: int = 0
    examples: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = ((), (), ())

    @property
    def incomplete(self) -> float:
        """The share of the listing that this space would show wrongly or not at all."""
        return (self.missing + self.outdated) / self.listed if self.listed else 0.0

    @property
    def changes(self) -> str:
        """What changed since it last served, and against what that was found, in words."""
        if self.listing is None:
            return "No listing of the index is kept, so that it was compared with none."
        missing, outdated, gone = self.examples
        found = (
            f"Against {self.listing}, {count(self.missing, 'image')} came since it last served"
            f"{_such_as(missing)}, {self.outdated:,} changed{_such_as(outdated)}"
        )
        if self.listing.whole:
            found += f" and {self.gone:,} left the bucket{_such_as(gone)}."
        else:
            found += "; that listing was cut short, so that nobody knows what left the bucket."
        if self.elsewhere:
            found += f" Not compared: {count(self.elsewhere, 'row')} of other buckets or prefixes."
        return found


def _such_as(names: tuple[str, ...]) -> str:
    return f" ({', '.join(names)})" if names else ""


@dataclass(frozen=True, slots=True)
class RegisteredSpace:
    """A space as the registry has it; `published_at` is when readers were last shown it."""

    space: Space
    recall: float | None
    published_at: datetime | None


async def registered_spaces(connection: Connection, index: str) -> tuple[RegisteredSpace, ...]:
    """Return the spaces of an index, the newest first."""
    return tuple(
        RegisteredSpace(read_space(row), row["recall"], row["published_at"])
        for row in await connection.fetch(registry_sql("select_spaces"), index)
    )


async def find_last_listing(connection: Connection, index: str) -> LastListing | None:
    """Return the last listing of an index; None where none is kept."""
    row: Any = await connection.fetchrow(sql("select_last_listing"), index)
    return None if row is None else LastListing(**row)


async def compare(
    connection: Connection, registered: RegisteredSpace, listing: LastListing | None
) -> SpaceReport:
    """Return how a space compares with a listing: a join of the two, within the listed part."""
    space, table = registered.space, space_table(registered.space)
    rows = await connection.fetchval(registry_sql("count_rows", table=table))
    report = SpaceReport(space, rows, registered.recall, registered.published_at)
    if listing is None:
        return report
    scope = (listing.run_id, listing.bucket, listing.prefix)
    found = await connection.fetchrow(sql("compare_space", table=table), *scope, space.space_id)
    return replace(
        report,
        listed=found["listed"],
        missing=found["missing"],
        outdated=found["outdated"],
        gone=found["gone"] if listing.whole else 0,
        listing=listing,
        elsewhere=rows - found["compared"],
    )


async def name_changes(connection: Connection, report: SpaceReport) -> SpaceReport:
    """Return the report with a few names of what is missing, outdated and gone."""
    listing = report.listing
    if listing is None or not (report.missing or report.outdated or report.gone):
        return report
    rows = await connection.fetch(
        sql("select_space_changes", table=space_table(report.space)),
        listing.run_id,
        listing.bucket,
        listing.prefix,
        report.space.space_id,
        listing.whole,
    )
    missing, outdated, gone = (
        tuple(row["image_id"] for row in rows if row["kind"] == kind)
        for kind in ("missing", "outdated", "gone")
    )
    return replace(report, examples=(missing, outdated, gone))
