"""Look at an index from outside: is it as its bucket was listed, recently, and does it answer?"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tasks.core.database.connections import Connection, Database
from tasks.core.database.locks import find_holder
from tasks.core.database.statements import statements_of
from tasks.core.errors import IndexDrifted
from tasks.core.maintenance.rollback import list_spaces
from tasks.core.runs.index_lock import index_key
from tasks.core.spaces.drift import SpaceReport
from tasks.core.spaces.hnsw import OPERATOR_CLASS, ROWS_THAT_PAY
from tasks.core.spaces.recall import check_recall, sample_rows
from tasks.core.spaces.registry import Space, find_active_space, space_table
from tasks.core.text import count
from tasks.core.types import Check

sql = statements_of(__name__)
hnsw_sql = statements_of("tasks.core.spaces.hnsw")

DRIFT = "few images are missing, outdated or gone"
AGE = "every bucket was listed lately"
SEARCH = "the search index is there and valid"


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """What an index may come to before it counts as drifted.

    Attributes:
        drift: share of the last listing that may be missing, outdated or gone, beside what the
            sync that listed it has left for the next.
        listing_hours: age that the listing of any of its buckets may have.
    """

    drift: float = 0.01
    listing_hours: float = 36.0


@dataclass(frozen=True, slots=True)
class SpaceHealth:
    """A space of an index: how it compares with the last listing, and what it takes on disk.

    `index_bytes` is of all its indexes; `dead_rows` are Postgres's estimate of what VACUUM frees.
    """

    report: SpaceReport
    table_bytes: int
    index_bytes: int
    dead_rows: int
    approximate: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A bucket and prefix that the index has rows of, and when it was last listed and synced."""

    bucket: str
    prefix: str
    listed_at: datetime | None
    synced_at: datetime | None

    @property
    def uri(self) -> str:
        """The gs:// address of the part of the bucket."""
        return f"gs://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class IndexHealth:
    """What was found about an index.

    Attributes:
        held_by: the run that is changing it right now; drift is not judged then.
        recall: of the shown space's approximate index, now; None without one.
        sources: the one listed longest ago first.
        left: images that are missing or outdated because the last sync left them for the next.
    """

    space: Space
    checked_at: datetime
    held_by: str | None
    spaces: tuple[SpaceHealth, ...]
    sources: tuple[Source, ...]
    recall: float | None
    left: int
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)


async def check_index(database: Database, index: str, limits: HealthLimits) -> IndexHealth:
    """Return what there is to know about an index, whether its checks held or not.

    Nothing is called and nothing is listed: the index is compared with its last listing, and the
    age of that is judged beside it.

    Raises:
        UnknownIndex: there is no such index, or nothing of it is published.
        DatabaseError: Postgres did not answer.
    """
    now = datetime.now(UTC)
    async with database.connection() as connection:
        space = await find_active_space(connection, index)
        reports = await list_spaces(database, index)
        spaces = tuple([await _look_at(connection, report) for report in reports])
        shown = next(found for found in spaces if found.report.space.space_id == space.space_id)
        holder = await find_holder(connection, index_key(index))
        held_by = None if holder is None else holder.application_name
        sources = await _find_sources(connection, space)
        left = await _count_left(connection, shown.report)
        # Another sample every day.
        sample = await sample_rows(connection, space, now.toordinal())
        recall, recall_check = await check_recall(connection, space, sample)
    checks = (
        _check_drift(shown.report, left, limits, held_by),
        _check_age(sources, limits, now),
        _check_search(shown, held_by),
        recall_check,
    )
    return IndexHealth(space, now, held_by, spaces, sources, recall, left, checks)


def refuse_drifted(health: IndexHealth) -> None:
    """Let a healthy index pass.

    Raises:
        IndexDrifted: a check did not hold; the message names it.
    """
    if not health.failed:
        return
    found = "; ".join(f"{check.name}: {check.found}" for check in health.failed)
    stale = " or ".join(source.uri for source in health.sources[:1])
    space = health.space
    raise IndexDrifted(
        f"Index {space.index!r} is not in order: {found}. Run embed-images"
        f"{f' on {stale}' if stale else ''} with index {space.index}, {space.parameters}:"
        f" it brings the index up to date and rebuilds what is broken."
    )


async def _look_at(connection: Connection, report: SpaceReport) -> SpaceHealth:
    table = str(space_table(report.space))
    sizes = await connection.fetchrow(sql("select_sizes"), table)
    found = await connection.fetch(hnsw_sql("select_hnsw"), table)
    approximate = tuple(
        "valid" if row["valid"] and row["opclass"] == OPERATOR_CLASS else f"unusable: {row['name']}"
        for row in found
    )
    return SpaceHealth(report, **sizes, approximate=approximate)


async def _find_sources(connection: Connection, space: Space) -> tuple[Source, ...]:
    rows = await connection.fetch(
        sql("select_sources", table=space_table(space)),
        space.index,
        space.model,
        space.dimension,
        space.preprocessing,
    )
    return tuple(Source(**row) for row in rows)


async def _count_left(connection: Connection, report: SpaceReport) -> int:
    if report.listing is None or not (report.missing or report.outdated):
        return 0
    space = report.space
    left: int = await connection.fetchval(
        sql("count_left", table=space_table(space)), report.listing.run_id, space.space_id
    )
    return left


def _check_drift(
    report: SpaceReport, left: int, limits: HealthLimits, held_by: str | None
) -> Check:
    # The run that left them was let to, by its own limit; running again is all there is to do.
    share = (report.missing + report.outdated - left + report.gone) / max(report.listed, 1)
    known = f" without {left:,} left for the next run" if left else ""
    found = (
        f"{report.missing:,} missing, {report.outdated:,} outdated, {report.gone:,} gone of"
        f" {report.listed:,} listed: {share:.1%}{known}, at most {limits.drift:.1%} may be"
    )
    if held_by is not None:
        return Check(DRIFT, passed=True, found=f"not judged, {held_by} is at work; {found}")
    return Check(DRIFT, share <= limits.drift, found)


def _check_age(sources: tuple[Source, ...], limits: HealthLimits, now: datetime) -> Check:
    oldest = timedelta(hours=limits.listing_hours)
    late = [
        source for source in sources if source.listed_at is None or now - source.listed_at > oldest
    ]
    found = f"{len(late)} of {len(sources)} not within {limits.listing_hours:g} hours"
    if late:
        found += f", such as {late[0].uri} ({age(late[0].listed_at, now)})"
    return Check(AGE, not late, found, tuple(source.uri for source in late[:5]))


def _check_search(shown: SpaceHealth, held_by: str | None) -> Check:
    rows = shown.report.rows
    unusable = [state for state in shown.approximate if state != "valid"]
    if held_by is not None:
        return Check(SEARCH, passed=True, found=f"not judged, {held_by} is at work")
    if unusable:
        return Check(SEARCH, passed=False, found=", ".join(unusable))
    if not shown.approximate and rows >= ROWS_THAT_PAY:
        found = f"none over {rows:,} rows: every search reads them all"
        return Check(SEARCH, passed=False, found=found)
    found = "valid" if shown.approximate else f"none needed over {count(rows, 'row')}"
    return Check(SEARCH, passed=True, found=found)


def age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, in words."""
    if moment is None:
        return "never"
    hours = (now - moment).total_seconds() / 3600
    if hours < 1:
        return f"{max(0.0, hours) * 60:.0f} min ago"
    return f"{hours:,.1f} h ago" if hours < 48 else f"{hours / 24:,.0f} days ago"  # noqa: PLR2004 - two days
