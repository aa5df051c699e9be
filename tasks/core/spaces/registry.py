"""The indexes of a database and their embedding spaces, with the tables that hold them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, statements_of
from tasks.core.errors import EmptyIndex, UnknownIndex

sql = statements_of(__name__)


@dataclass(frozen=True, slots=True)
class SpaceKind:
    """What tells the spaces of a database apart."""

    index: str
    model: str
    dimension: int
    preprocessing: str

    @property
    def label(self) -> str:
        """Model, dimension, and what is done to the images first where that is something."""
        done = "" if self.preprocessing == "none" else f", {self.preprocessing}"
        return f"{self.model}, {self.dimension} dimensions{done}"

    def __str__(self) -> str:
        return f"index {self.index!r} ({self.label})"


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space of an index: vectors of one model, dimension and preprocessing.

    Attributes:
        status: `active` is what readers see, `retired` what they saw before, `loading` neither.
        ef_search: what searches through its approximate index need, as the gate measured it.
        recall: of that index then; None without one.
        published_at: when readers were last shown it.
    """

    space_id: int
    index_id: int
    index: str
    model: str
    dimension: int
    preprocessing: str
    status: Literal["loading", "active", "retired"]
    ef_search: int = 100
    recall: float | None = None
    published_at: datetime | None = None

    @property
    def vectors(self) -> Identifier:
        """The table of its vectors, one a content."""
        return Identifier(f"vectors_{self.space_id}", "birdwalk")

    @property
    def images(self) -> Identifier:
        """The table of its index's images, which all spaces of the index share."""
        return Identifier(f"images_{self.index_id}", "birdwalk")

    @property
    def tables(self) -> dict[str, Identifier]:
        """Both tables, as statements name them."""
        return {"images": self.images, "vectors": self.vectors}

    @property
    def kind(self) -> SpaceKind:
        """What tells it from other spaces."""
        return SpaceKind(self.index, self.model, self.dimension, self.preprocessing)

    @property
    def label(self) -> str:
        """Model, dimension, and what is done to the images first where that is something."""
        return self.kind.label

    @property
    def parameters(self) -> str:
        """The parameters of embed-images that fill this space."""
        crop = ", crop subject" if self.preprocessing.startswith("crop-subject") else ""
        return f"model {self.model}, dimension {self.dimension}{crop}"


def read_space(row: Any) -> Space:
    """Return the space of a row of select_spaces."""
    return Space(
        space_id=row["space_id"],
        index_id=row["index_id"],
        index=row["index_name"],
        model=row["model"],
        dimension=row["dimension"],
        preprocessing=row["preprocessing"],
        status=row["status"],
        ef_search=row["ef_search"],
        recall=row["recall"],
        published_at=row["published_at"],
    )


async def list_spaces(connection: Connection, index: str) -> tuple[Space, ...]:
    """Return the spaces of an index, the newest first; none where there is no such index."""
    return tuple(read_space(row) for row in await connection.fetch(sql("select_spaces"), index))


async def list_like_spaces(connection: Connection, space: Space) -> tuple[int, ...]:
    """Return the numbers of the spaces of other indexes that hold the same kind of vectors."""
    rows = await connection.fetch(sql("select_like_spaces"), space.space_id)
    return tuple(row["space_id"] for row in rows)


async def find_space(connection: Connection, kind: SpaceKind) -> Space | None:
    """Return the space of an index with this model, dimension and preprocessing, if it has one."""
    for space in await list_spaces(connection, kind.index):
        if space.kind == kind:
            return space
    return None


async def find_shown_space(connection: Connection, index: str) -> Space | None:
    """Return the space of an index that readers see; None before the first is published."""
    for space in await list_spaces(connection, index):
        if space.status == "active":
            return space
    return None


async def require_shown_space(connection: Connection, index: str) -> Space:
    """Return the space of an index that readers see.

    Raises:
        UnknownIndex: there is no such index, or nothing of it is published.
    """
    space = await find_shown_space(connection, index)
    if space is None:
        begun = await list_spaces(connection, index)
        raise UnknownIndex(
            f"Index {index!r} {'has not been published yet' if begun else 'does not exist'}."
            " embed-images makes it from a bucket: check the name, or let that run to its end."
        )
    return space


async def create_tables(connection: Connection, kind: SpaceKind) -> Space:
    """Register an index and a space of it, and make their tables, where they are missing."""
    space = await find_space(connection, kind)
    if space is None:
        await connection.execute(sql("insert_index"), kind.index)
        await connection.execute(
            sql("insert_space"), kind.index, kind.model, kind.dimension, kind.preprocessing
        )
        space = await find_space(connection, kind)
    if space is None:
        raise UnknownIndex(f"{kind} was dropped while its tables were made. Run again.")
    # Looked up first: CREATE INDEX waits for writers even where the index exists.
    if not await connection.fetchval(sql("select_is_made"), str(space.images)):
        await connection.execute(sql("create_images_table", images=space.images))
        name = Identifier(f"images_{space.index_id}_content_key")
        await connection.execute(sql("create_images_content_key", name=name, images=space.images))
    if not await connection.fetchval(sql("select_is_made"), str(space.vectors)):
        await connection.execute(
            sql(
                "create_vectors_table",
                vectors=space.vectors,
                dimension=space.dimension,
                unit_length=Identifier(f"vectors_{space.space_id}_unit_length"),
            )
        )
        await connection.execute(sql("set_parallel_workers", vectors=space.vectors))
    return space


async def count_rows(connection: Connection, space: Space) -> int:
    """Return how many vectors a space has."""
    return int(await connection.fetchval(sql("count_rows", vectors=space.vectors)))


async def count_images(connection: Connection, space: Space, bucket: str, prefix: str) -> int:
    """Return how many images of a part of a bucket readers would see in a space."""
    return int(await connection.fetchval(sql("count_images", **space.tables), bucket, prefix))


async def count_shown(connection: Connection, space: Space) -> int:
    """Return how many images readers would see in a space."""
    return int(await connection.fetchval(sql("count_shown", **space.tables)))


async def count_write(connection: Connection, space: Space) -> None:
    """Note, in the caller's transaction, that it wrote vectors of a space."""
    await connection.execute(sql("count_writes"), space.space_id)


async def require_images(connection: Connection, space: Space) -> None:
    """Let a space with images pass.

    Raises:
        EmptyIndex: readers see none in it.
    """
    if not await connection.fetchval(sql("select_has_images", **space.tables)):
        raise EmptyIndex(
            f"Index {space.index!r} holds no image. Run embed-images on a bucket with some."
        )
