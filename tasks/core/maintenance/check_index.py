"""Look at an index from outside: is it as its bucket was listed, recently, and does it answer?"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tasks.core.database.connections import Connection, Database
from tasks.core.database.locks import find_holder
from tasks.core.database.statements import Identifier, statements_of
from tasks.core.errors import IndexDrifted
from tasks.core.runs.space_lock import space_key
from tasks.core.spaces.drift import Drift, SpaceReport, find_drift, report_space
from tasks.core.spaces.hnsw import OPERATOR_CLASS, ROWS_THAT_PAY
from tasks.core.spaces.recall import check_recall, sample_vectors
from tasks.core.spaces.registry import Space, list_spaces, require_shown_space
from tasks.core.text import count
from tasks.core.types import Check

sql = statements_of(__name__)
hnsw = statements_of("tasks.core.spaces.hnsw")

DRIFT = "few images are missing, outdated or gone"
AGE = "every bucket was listed lately"
SEARCH = "the search index is there and valid"


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """What an index may come to before it counts as drifted.

    Attributes:
        drift: share of what was listed that may be missing, outdated or gone, beside what the last
            completed run has left for the next.
        listing_hours: age that the listing of any of its buckets may have.
    """

    drift: float = 0.01
    listing_hours: float = 36.0


@dataclass(frozen=True, slots=True)
class TableSize:
    """What a table takes on disk.

    `index_bytes` is of all its indexes; `dead_rows` are Postgres's estimate of what VACUUM frees.
    """

    table_bytes: int
    index_bytes: int
    dead_rows: int


@dataclass(frozen=True, slots=True)
class SpaceHealth:
    """A space of an index, what its vectors take on disk, and its approximate indexes."""

    report: SpaceReport
    size: TableSize
    approximate: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A bucket and prefix that images come from, and when it was last listed and published."""

    bucket: str
    prefix: str
    listed_at: datetime | None
    published_at: datetime | None

    @property
    def uri(self) -> str:
        """The gs:// address of the part of the bucket."""
        return f"gs://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class IndexHealth:
    """What was found about an index.

    Attributes:
        space: the one that readers see.
        held_by: the run that fills it right now; drift is not judged then.
        images: what the table of images takes on disk.
        sources: the one listed longest ago first.
        recall: of the shown space's approximate index, now; None without one.
    """

    space: Space
    checked_at: datetime
    held_by: str | None
    drift: Drift
    images: TableSize
    spaces: tuple[SpaceHealth, ...]
    sources: tuple[Source, ...]
    recall: float | None
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)


async def check_index(database: Database, index: str, limits: HealthLimits) -> IndexHealth:
    """Return what there is to know about an index, whether its checks held or not.

    Nothing is called and nothing is listed: what readers see is compared with what was last listed,
    published or not, and the age of that is judged beside it.

    Raises:
        UnknownIndex: there is no such index, or nothing of it is published.
        DatabaseError: Postgres did not answer.
    """
    now = datetime.now(UTC)
    async with database.connection() as connection:
        space = await require_shown_space(connection, index)
        holder = await find_holder(connection, space_key(space.kind))
        held_by = None if holder is None else holder.application_name
        spaces = tuple(
            [
                await _look_at(connection, found, space)
                for found in await list_spaces(connection, index)
            ]
        )
        drift = await find_drift(connection, space)
        images = await _measure(connection, space.images)
        rows = await connection.fetch(sql("select_sources", images=space.images), index)
        sources = tuple(Source(**row) for row in rows)
        # Another sample every day.
        sample = await sample_vectors(connection, space, now.toordinal())
        recall, recall_check = await check_recall(connection, space, sample)
    [shown] = (found for found in spaces if found.report.space == space)
    checks = (
        _check_drift(drift, limits, held_by),
        _check_age(sources, limits, now),
        _check_search(shown, held_by),
        recall_check,
    )
    return IndexHealth(space, now, held_by, drift, images, spaces, sources, recall, checks)


def require_in_order(health: IndexHealth) -> None:
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


async def _look_at(connection: Connection, space: Space, shown: Space) -> SpaceHealth:
    rows = await connection.fetch(hnsw("select_hnsw"), str(space.vectors))
    approximate = tuple(
        "valid" if row["valid"] and row["opclass"] == OPERATOR_CLASS else f"unusable: {row['name']}"
        for row in rows
    )
    report = await report_space(connection, space, shown)
    return SpaceHealth(report, await _measure(connection, space.vectors), approximate)


async def _measure(connection: Connection, table: Identifier) -> TableSize:
    return TableSize(**await connection.fetchrow(sql("select_size"), str(table)))


def _check_drift(drift: Drift, limits: HealthLimits, held_by: str | None) -> Check:
    # The run that left images was let to, by its own limit; running again is all there is to do.
    known = f" without {drift.leftover:,} left for the next run" if drift.leftover else ""
    found = (
        f"{drift.missing:,} missing, {drift.outdated:,} outdated, {drift.gone:,} gone of"
        f" {drift.listed:,} listed: {drift.share:.1%}{known}, at most {limits.drift:.1%} may be"
    )
    if held_by is not None:
        return Check(DRIFT, passed=True, found=f"not judged, {held_by} is at work; {found}")
    return Check(DRIFT, drift.share <= limits.drift, found)


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
    rows = shown.report.vectors
    unusable = [state for state in shown.approximate if state != "valid"]
    if held_by is not None:
        return Check(SEARCH, passed=True, found=f"not judged, {held_by} is at work")
    if unusable:
        return Check(SEARCH, passed=False, found=", ".join(unusable))
    if not shown.approximate and rows >= ROWS_THAT_PAY:
        found = f"none over {rows:,} vectors: every search reads them all"
        return Check(SEARCH, passed=False, found=found)
    found = "valid" if shown.approximate else f"none needed over {count(rows, 'vector')}"
    return Check(SEARCH, passed=True, found=found)


def age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, in words."""
    if moment is None:
        return "never"
    hours = (now - moment).total_seconds() / 3600
    if hours < 1:
        return f"{max(0.0, hours) * 60:.0f} min ago"
    return f"{hours:,.1f} h ago" if hours < 48 else f"{hours / 24:,.0f} days ago"  # noqa: PLR2004 - two days
