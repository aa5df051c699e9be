"""Find the images of an index that are almost the same, in groups.

Every image is searched for once, through the index where there is one: n searches, not n x n
comparisons. Only images that have a duplicate are held in memory.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import InvalidInput
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.nearest import widen_search
from tasks.core.spaces.registry import Space, find_active_space, space_table

sql = statements_of(__name__)

NEAREST = 21
"""Rows looked at around each image, itself among them."""

FARTHEST = 2.0
PAIRS_AT_ONCE = 1000


class StoredImage(NamedTuple):
    """An image of an index; many are held, so as a tuple."""

    bucket: str
    image_id: str


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images that hang together by pairs within the distance, ordered by bucket and name.

    `distance` is the L2 distance of the farthest such pair; 0 where all are alike.
    """

    images: tuple[StoredImage, ...]
    distance: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The groups of duplicates of a space, the largest first."""

    space: Space
    distance: float
    groups: tuple[DuplicateGroup, ...]

    @property
    def images(self) -> int:
        """Images in all groups."""
        return sum(len(group.images) for group in self.groups)

    @property
    def spare(self) -> int:
        """Images that would go if one of each group were kept."""
        return self.images - len(self.groups)


async def find_duplicates(
    searcher: Searcher, index: str, distance: float, prefix: str = ""
) -> Duplicates:
    """Return the groups of an index's images that are within an L2 distance of one another.

    An image is paired with up to 20 of its nearest; a larger group hangs together through its
    members. Copies of the same bytes (equal md5) are always in one group.

    Args:
        searcher: an open one.
        index: the view's name; the space that it shows is searched.
        distance: L2, 0 to 2; between unit vectors 0.1 is a cosine distance of 0.005.
        prefix: only images whose name begins with this.

    Raises:
        InvalidInput: the distance cannot be one.
        UnknownIndex: there is nothing to search.
        DatabaseError: Postgres did not answer.
    """
    if not 0 <= distance <= FARTHEST:
        raise InvalidInput(f"distance is {distance}; expected 0 to 2, as between unit vectors.")
    groups = _Groups()
    async with searcher.database.connection() as connection:
        space = await find_active_space(connection, index)
        async with connection.transaction():
            async for one, other, apart in _pairs(connection, space, distance, prefix):
                groups.join(one, other, apart)
    return Duplicates(space, distance, groups.finished())


async def _pairs(
    connection: Connection, space: Space, distance: float, prefix: str
) -> AsyncIterator[tuple[StoredImage, StoredImage, float]]:
    table = space_table(space)
    await widen_search(connection, space, NEAREST, filtered=bool(prefix))
    questions = (
        (sql("select_same_bytes", table=table), (prefix,)),
        (sql("select_near_pairs", table=table), (distance, prefix, NEAREST)),
    )
    for text, arguments in questions:
        async for row in connection.cursor(text, *arguments, prefetch=PAIRS_AT_ONCE):
            yield StoredImage(*row[0:2]), StoredImage(*row[2:4]), row["distance"]


class _Groups:
    """Union-find over the images that have a duplicate."""

    def __init__(self) -> None:
        self._parents: dict[StoredImage, StoredImage] = {}
        self._distances: defaultdict[StoredImage, float] = defaultdict(float)

    def join(self, one: StoredImage, other: StoredImage, distance: float) -> None:
        """Put two images, and all that hang on them, into one group."""
        first, second = self._root(one), self._root(other)
        self._parents[second] = first
        farthest = max(distance, self._distances[first], self._distances[second])
        self._distances[first] = farthest

    def finished(self) -> tuple[DuplicateGroup, ...]:
        """Return the groups, the largest first, then the most alike."""
        members: defaultdict[StoredImage, list[StoredImage]] = defaultdict(list)
        for image in self._parents:
            members[self._root(image)].append(image)
        groups = [
            DuplicateGroup(tuple(sorted(images)), self._distances[root])
            for root, images in members.items()
        ]
        return tuple(
            sorted(groups, key=lambda group: (-len(group.images), group.distance, group.images[0]))
        )

    def _root(self, image: StoredImage) -> StoredImage:
        while (parent := self._parents.setdefault(image, image)) != image:
            # Path halving: every other image on the way is hung one higher.
            self._parents[image] = self._parents[parent]
            image = parent
        return image
