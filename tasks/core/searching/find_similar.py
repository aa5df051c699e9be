"""Answer a question to an index: which of its images are nearest to what is shown or said?

A question is embedded with the model and the dimension of the space that readers see, and compared
with that space's vectors: never with another's.
"""

from dataclasses import dataclass, replace

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.searching.question import FROM_L2, Question
from tasks.core.searching.question_vector import Query, embed_query, find_query
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.nearest import widen_search
from tasks.core.spaces.registry import Space, require_images, require_shown_space
from tasks.core.text import count
from tasks.core.types import Neighbour

sql = statements_of(__name__)

OVERSAMPLING = 2
"""Candidates per wanted row behind a filter, since the index gives them only almost in order. Of
100,000, 101 neighbours behind a filter that lets 10% pass: recall 0.991 with 1, 0.998 with 2, and
1.000 with 4, which takes three times as long as 2."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question found.

    Attributes:
        space: the embedding space that was asked.
        uri: the gs:// address of the image that was asked with; None for a text, a file or bytes.
        neighbours: the nearest first, their distances in the question's metric.
        calls: answers of the model that this took, 0 or 1.
        warnings: what the asker may not expect, a sentence each.
    """

    question: Question
    space: Space
    uri: str | None
    neighbours: tuple[Neighbour, ...]
    calls: int
    warnings: tuple[str, ...] = ()


async def find_similar(searcher: Searcher, index: str, question: Question) -> Answer:
    """Return the images of an index that are nearest to what a question shows or says.

    The image that was asked with is left out; its copies are not. The search is exact or goes
    through the HNSW index, as Postgres's planner decides. Where the index gives fewer rows than
    were asked for, the search is repeated without it: `count` images come back whenever so many
    match.

    Raises:
        UnknownIndex, EmptyIndex: there is nothing to ask.
        UnknownImage: no image has that name, or no object that address.
        UnreadablePicture: the file or the bytes are no picture that the model reads.
        InvalidInput: images of several buckets have that name.
        EmbeddingError: the model did not answer with a vector.
        DatabaseError, StorageError: one of these did not answer.
    """
    async with searcher.database.connection() as connection:
        space = await require_shown_space(connection, index)
        await require_images(connection, space)
        query = await find_query(connection, space, question)
    if query is None:
        # No connection is held while the model works.
        query = await embed_query(searcher, space, question)
    async with searcher.database.connection() as connection:
        found = await _search(connection, space, query, question)
    measured = FROM_L2[question.metric]
    neighbours = tuple(replace(one, distance=measured(one.distance)) for one in found)
    warnings = question.warnings
    if len(found) < question.count:
        matching = count(len(found), "image matches", "images match")
        warnings = (*warnings, f"{matching}; {question.count} were asked for.")
    return Answer(question, space, query.uri, neighbours, query.calls, warnings)


async def _search(
    connection: Connection, space: Space, query: Query, question: Question
) -> list[Neighbour]:
    """Return the nearest images, at most `count`, without the one that was asked with."""
    # One more than asked for: the image itself comes first.
    wanted = question.count + (query.uri is not None)
    filtered = bool(question.prefix) or question.since is not None
    candidates = OVERSAMPLING * wanted if filtered else wanted
    text = sql("search", **space.tables)
    arguments = (query.vector, wanted, question.prefix, candidates, question.since)
    async with connection.transaction():
        await widen_search(connection, space, candidates, filtered=filtered)
        # How much a filter leaves decides whether the index serves: the plan must see its value.
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        rows = await connection.fetch(text, *arguments)
        if len(rows) < wanted:
            # An index scan ends after hnsw.max_scan_tuples; HNSW allows no other kind of scan.
            await connection.execute("SET LOCAL enable_indexscan = off")
            rows = await connection.fetch(text, *arguments)
    found = [Neighbour(*row) for row in rows]
    return [one for one in found if one.uri != query.uri][: question.count]
