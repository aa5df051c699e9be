"""Answer a question to an index: which of its images are nearest to what is shown or said?

A question is embedded with the model and the dimension of the space that readers see, and compared
with that space's vectors: never with another's.
"""

from dataclasses import dataclass
from typing import Any

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.google.storage import object_link
from tasks.core.searching.question import FROM_L2, Question
from tasks.core.searching.question_vector import Query, embed_query, find_query
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.drift import LastListing, find_last_listing
from tasks.core.spaces.nearest import widen_search
from tasks.core.spaces.registry import Space, find_active_space, refuse_empty, space_table
from tasks.core.text import count

sql = statements_of(__name__)

OVERSAMPLING = 4
"""Candidates a wanted row behind a filter: the index gives them only almost in order, and a narrow
filter is left to an exact search the sooner."""


@dataclass(frozen=True, slots=True)
class SimilarImage:
    """An image that a question found; rank 1 is the nearest.

    `distance` is told in the question's metric; `link` is an address for a browser.
    """

    rank: int
    bucket: str
    image_id: str
    distance: float
    link: str

    @property
    def uri(self) -> str:
        """The gs:// address."""
        return f"gs://{self.bucket}/{self.image_id}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question found, nearest first.

    Attributes:
        space: the embedding space that was asked.
        uri: the gs:// address of the image that was asked with; None for a text, a file or bytes.
        calls: answers of the model that this took, 0 or 1.
        warnings: what the asker may not expect, a sentence each.
    """

    question: Question
    space: Space
    uri: str | None
    neighbours: tuple[SimilarImage, ...]
    calls: int
    warnings: tuple[str, ...] = ()


async def find_similar(searcher: Searcher, index: str, question: Question) -> Answer:
    """Return the images of an index that are nearest to what a question shows or says.

    The image that was asked with is left out. The search is exact or goes through the HNSW index,
    as Postgres's planner finds right; where the index gives fewer rows than were asked for, the
    search is repeated without it, so that `count` images come back whenever so many match.

    `uploaded_after` is compared with the object's `updated` in the index's last listing: when it
    was written, or its metadata changed. An image without one, because another bucket or prefix
    was listed last, does not match; the answer's warnings count such images.

    Raises:
        UnknownIndex, EmptyIndex: there is nothing to ask.
        UnknownImage: no image has that name, or no object that address.
        UnreadablePicture: the file or the bytes are no picture that the model reads.
        InvalidInput: images of several buckets have that name.
        EmbeddingError: the model did not answer with a vector.
        DatabaseError, StorageError: one of these did not answer.
    """
    async with searcher.database.connection() as connection:
        space = await find_active_space(connection, index)
        await refuse_empty(connection, space)
        query = await find_query(connection, space, question)
    if query is None:
        # No connection is held while the model works.
        query = await embed_query(searcher, space, question)
    async with searcher.database.connection() as connection:
        listing = await find_last_listing(connection, index)
        rows = await _search(connection, space, query, question, listing)
        undated = await _count_undated(connection, space, question, listing)
    neighbours = tuple(
        SimilarImage(
            rank=rank,
            bucket=row["bucket"],
            image_id=row["image_id"],
            distance=FROM_L2[question.metric](row["distance"]),
            link=object_link(searcher.settings, row["bucket"], row["image_id"]),
        )
        for rank, row in enumerate(rows, start=1)
    )
    warnings = (*question.warnings, *_warn(question, len(rows), undated))
    return Answer(question, space, query.uri, neighbours, query.calls, warnings)


async def _search(
    connection: Connection,
    space: Space,
    query: Query,
    question: Question,
    listing: LastListing | None,
) -> list[Any]:
    """Return the nearest rows, at most `count`, without the image that was asked with."""
    # One more than asked for: the image itself comes first.
    wanted = question.count + (query.uri is not None)
    filtered = bool(question.prefix) or question.since is not None
    candidates = OVERSAMPLING * wanted if filtered else wanted
    arguments: list[Any] = [query.vector, wanted, question.prefix, candidates]
    table = space_table(space)
    text = sql("search", table=table)
    if question.since is not None:
        if listing is None:
            return []
        text = sql("search_uploaded", table=table)
        arguments += [listing.run_id, listing.bucket, question.since]
    async with connection.transaction():
        await widen_search(connection, space, candidates, filtered=filtered)
        # The filters' selectivity decides whether the index serves: the plan must see the values.
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        rows = await connection.fetch(text, *arguments)
        if len(rows) < wanted:
            # An index scan ends after hnsw.max_scan_tuples; HNSW allows no other kind of scan.
            await connection.execute("SET LOCAL enable_indexscan = off")
            rows = await connection.fetch(text, *arguments)
    return [row for row in rows if f"gs://{row['bucket']}/{row['image_id']}" != query.uri][
        : question.count
    ]


async def _count_undated(
    connection: Connection, space: Space, question: Question, listing: LastListing | None
) -> int:
    """Return how many images of the prefix no listing dates, where a date was asked for."""
    if question.since is None:
        return 0
    run_id, bucket = (listing.run_id, listing.bucket) if listing else (0, "")
    statement = sql("count_undated", table=space_table(space))
    return int(await connection.fetchval(statement, question.prefix, run_id, bucket))


def _warn(question: Question, found: int, undated: int) -> list[str]:
    warnings = []
    if found < question.count:
        matching = count(found, "image matches", "images match")
        warnings.append(f"{matching}; {question.count} were asked for.")
    if undated:
        warnings.append(
            f"{count(undated, 'image has', 'images have')} no known upload date, because the last"
            " listing was of another bucket or prefix. What has none was left out."
        )
    return warnings
