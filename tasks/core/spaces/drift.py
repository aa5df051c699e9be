"""Compare what readers see: with the bucket as it was last listed, and with another space."""

from dataclasses import dataclass
from datetime import datetime

from tasks.core.database.connections import Connection, without_nested_loops
from tasks.core.database.statements import statements_of
from tasks.core.spaces.registry import Space, count_rows, count_shown
from tasks.core.text import count

sql = statements_of(__name__)


@dataclass(frozen=True, slots=True)
class KeptListing:
    """A listing of an index whose rows are kept: by which run, of what, and when it began.

    Only the last one is, and beside it those of runs that were under way when it was written.

    Attributes:
        whole: whether no limit cut it short; otherwise it says nothing of what it does not have.
    """

    run_id: int
    bucket: str
    prefix: str
    listed_at: datetime
    whole: bool

    @property
    def uri(self) -> str:
        """The gs:// address of the part of the bucket."""
        return f"gs://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class Drift:
    """How far what readers see is from the bucket as it was last listed.

    Attributes:
        shown: images that readers see.
        listed: images of the kept listings, but for those that the space was refused.
        missing: of these, the ones that readers do not see; `outdated`: see with another content.
        gone: images that readers see and that are not listed any more.
        leftover: missing or outdated because the last completed run left them for the next one.
        not_compared: images that readers see, of which no kept listing says anything.
    """

    shown: int
    listed: int = 0
    missing: int = 0
    outdated: int = 0
    gone: int = 0
    leftover: int = 0
    not_compared: int = 0
    listings: tuple[KeptListing, ...] = ()

    @property
    def share(self) -> float:
        """The part of the listed and gone images that is wrong, but for what was left."""
        wrong = self.missing + self.outdated - self.leftover + self.gone
        return wrong / max(self.listed + self.gone, 1)


async def find_drift(connection: Connection, space: Space) -> Drift:
    """Compare what readers see in a space with the kept listings of its index.

    Of an image that several listings cover, the newest counts.
    """
    shown = await count_shown(connection, space)
    rows = await connection.fetch(sql("select_kept_listings"), space.index)
    listings = tuple(KeptListing(**row) for row in rows)
    found = []
    async with connection.transaction(), without_nested_loops(connection):
        for place, listing in enumerate(listings):
            row = await connection.fetchrow(
                sql("compare_listing", **space.tables),
                listing.run_id,
                listing.bucket,
                listing.prefix,
                space.space_id,
                listing.whole,
                [newer.prefix for newer in listings[:place] if newer.bucket == listing.bucket],
            )
            found.append(row)
    return Drift(
        shown,
        listed=sum(row["listed"] for row in found),
        missing=sum(row["missing"] for row in found),
        outdated=sum(row["outdated"] for row in found),
        gone=sum(row["gone"] for row in found),
        leftover=sum(row["leftover"] for row in found),
        not_compared=shown - sum(row["compared"] for row in found),
        listings=listings,
    )


@dataclass(frozen=True, slots=True)
class LostImages:
    """Images that readers see and would not see in another space: how many, and a few addresses."""

    images: int = 0
    examples: tuple[str, ...] = ()

    @property
    def such_as(self) -> str:
        """The examples, in brackets, where there are some."""
        return f" (such as {', '.join(self.examples)})" if self.examples else ""


@dataclass(frozen=True, slots=True)
class Losses:
    """What readers would lose: images without a vector yet, and those that the model refused."""

    missing: LostImages = LostImages()
    refused: LostImages = LostImages()


async def find_losses(connection: Connection, shown: Space, other: Space) -> Losses:
    """Return which images readers see in one space of an index and would not see in another."""
    rows = await connection.fetch(
        sql("select_lost", images=shown.images, shown=shown.vectors, vectors=other.vectors),
        other.space_id,
    )
    lost = {row["refused"]: LostImages(row["images"], tuple(row["examples"])) for row in rows}
    return Losses(lost.get(False, LostImages()), lost.get(True, LostImages()))


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """What readers would see in a space of an index, and what they would lose by it.

    Attributes:
        vectors: those in it, one a content.
        shown: images that readers would see in it.
        seen: images that they see now.
    """

    space: Space
    vectors: int
    shown: int
    seen: int
    losses: Losses = Losses()

    @property
    def incomplete(self) -> float:
        """The share of the images that readers see that have no vector in it, and no refusal."""
        return self.losses.missing.images / max(self.seen, 1)

    @property
    def changes(self) -> str:
        """What readers would lose, in words."""
        missing, refused = self.losses.missing, self.losses.refused
        found = []
        if missing.images:
            found.append(f"has no vector of {missing.images:,}{missing.such_as}")
        if refused.images:
            found.append(f"was refused {refused.images:,}{refused.such_as}")
        if not found:
            return f"It has all of the {count(self.seen, 'image')} that readers saw before."
        return f"Of the {count(self.seen, 'image')} that readers saw, it {' and '.join(found)}."


async def report_space(connection: Connection, space: Space, shown: Space | None) -> SpaceReport:
    """Compare a space with the one that readers see; before the first, they see nothing."""
    vectors = await count_rows(connection, space)
    async with connection.transaction(), without_nested_loops(connection):
        would_see = await count_shown(connection, space)
        if shown is None:
            return SpaceReport(space, vectors, would_see, 0)
        if shown.space_id == space.space_id:
            return SpaceReport(space, vectors, would_see, would_see)
        seen = await count_shown(connection, shown)
        losses = await find_losses(connection, shown, space)
    return SpaceReport(space, vectors, would_see, seen, losses)
