"""Find the images of an index that are almost the same, in groups.

Contents are compared, not names. Where they are many, each is searched for once through the index:
n searches, not n x n comparisons. Then the images of each group's contents are looked up. Only
contents and images that have a duplicate are held in memory.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import InvalidInput
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.hnsw import ROWS_THAT_PAY, has_hnsw
from tasks.core.spaces.nearest import widen_search
from tasks.core.spaces.registry import Space, require_shown_space
from tasks.core.types import Image

sql = statements_of(__name__)

NEAREST = 21
"""Contents looked at around each content, itself among them."""

FARTHEST = 2.0
PAIRS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images that are connected by pairs within the distance, ordered by bucket and name.

    `distance` is the L2 distance of the farthest such pair; between copies it is 0.
    """

    images: tuple[Image, ...]
    distance: float

    @property
    def contents(self) -> int:
        """Different contents; 1 where all images are copies of one another."""
        return len({image.content_key for image in self.images})


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

    @property
    def copies(self) -> int:
        """Images that would go if one of each content were kept."""
        return self.images - sum(group.contents for group in self.groups)


async def find_duplicates(
    searcher: Searcher, index: str, distance: float, prefix: str = ""
) -> Duplicates:
    """Return the groups of an index's images that are within an L2 distance of one another.

    Copies (images of the same content) are always in one group. A content is paired with up to 20
    of its nearest; larger groups are connected through their members.

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
    async with searcher.database.connection() as connection:
        space = await require_shown_space(connection, index)
        # All three questions are asked of one state of the index, whatever is published meanwhile.
        async with connection.transaction(isolation="repeatable_read"):
            groups = await _group_contents(connection, space, distance, prefix)
            images = await connection.fetch(
                sql("select_images", **space.tables), groups.contents, prefix
            )
    return Duplicates(space, distance, groups.of_images([Image(**row) for row in images]))


async def _group_contents(
    connection: Connection, space: Space, distance: float, prefix: str
) -> "_Groups":
    found = await connection.fetchrow(sql("select_contents", **space.tables), prefix)
    groups = _Groups(found["copied"])
    if found["contents"] >= ROWS_THAT_PAY and await has_hnsw(connection, space):
        text = sql("select_near_pairs", **space.tables)
        await widen_search(connection, space, NEAREST, filtered=bool(prefix))
    else:
        text = sql("select_near_pairs_exactly", **space.tables)
    async for row in connection.cursor(text, distance, prefix, NEAREST, prefetch=PAIRS_AT_ONCE):
        groups.join(row["content_key"], row["other_key"], row["distance"])
    return groups


class _Groups:
    """Union-find over the contents that have a duplicate, or several images."""

    def __init__(self, copied: Iterable[str] = ()) -> None:
        # A content with several images is a group by itself.
        self._parents: dict[str, str] = {content: content for content in copied}
        self._distances: defaultdict[str, float] = defaultdict(float)

    @property
    def contents(self) -> list[str]:
        """All contents in groups."""
        return list(self._parents)

    def join(self, one: str, other: str, distance: float) -> None:
        """Put two contents, and all that are connected with them, into one group."""
        first, second = self._root(one), self._root(other)
        self._parents[second] = first
        farthest = max(distance, self._distances[first], self._distances[second])
        self._distances[first] = farthest

    def of_images(self, images: list[Image]) -> tuple[DuplicateGroup, ...]:
        """Return the images in groups by their contents, the largest first, then the most alike."""
        members: defaultdict[str, list[Image]] = defaultdict(list)
        for image in images:
            members[self._root(image.content_key)].append(image)
        groups = [
            DuplicateGroup(tuple(sorted(found)), self._distances[root])
            for root, found in members.items()
        ]
        return tuple(
            sorted(groups, key=lambda group: (-len(group.images), group.distance, group.images[0]))
        )

    def _root(self, content: str) -> str:
        while (parent := self._parents.setdefault(content, content)) != content:
            # Path halving: every other content on the way is moved one step up.
            self._parents[content] = self._parents[parent]
            content = parent
        return content
