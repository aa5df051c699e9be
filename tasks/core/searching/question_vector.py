"""From a question to its vector: stored in the index already, or asked of the model."""

import asyncio
import hashlib
from collections.abc import Hashable
from dataclasses import dataclass

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import (
    ImageGone,
    ImageReadDeadline,
    ImageRefused,
    InvalidInput,
    QuotaExceeded,
    TransientFailure,
    UnknownImage,
    UnreadablePicture,
)
from tasks.core.google.storage import download
from tasks.core.google.vertex import VertexEmbedder
from tasks.core.models import find_model
from tasks.core.pictures.preparing import find_preparation, reads_images_itself
from tasks.core.pictures.scaling import read_file
from tasks.core.searching.question import Question, parse_uri
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.registry import Space, space_table
from tasks.core.types import Vector

sql = statements_of(__name__)
nearest_sql = statements_of("tasks.core.spaces.nearest")

ATTEMPTS = 3
"""Somebody is waiting for the answer: a busy model is asked again twice, not for minutes."""

FIRST_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Query:
    """A question as a vector of a space.

    Attributes:
        uri: the gs:// address of the image that it is of; None for a text, a file or bytes.
        calls: answers of the model that it took, 0 or 1.
    """

    vector: Vector
    uri: str | None
    calls: int


async def find_query(connection: Connection, space: Space, question: Question) -> Query | None:
    """Return the stored vector of the image that is asked with, at no cost.

    Returns:
        None where the question is a text, a file or bytes, or the address of an object that the
        space has no vector of.

    Raises:
        UnknownImage: the space has no image of the name.
        InvalidInput: it has several, of different buckets.
    """
    table = space_table(space)
    if question.uri is not None:
        place = parse_uri(question.uri)
        vector = await connection.fetchval(nearest_sql("select_vector", table=table), *place)
        return None if vector is None else Query(vector.to_numpy(), question.uri, 0)
    if question.image_id is None:
        return None
    name = question.image_id
    rows = await connection.fetch(sql("select_images_called", table=table), name)
    if not rows:
        alike = await connection.fetchval(sql("select_name_like", table=table), name)
        hint = "" if alike is None else f" Did you mean {alike!r}?"
        raise UnknownImage(
            f"Image {name!r} is not in index {space.index!r}.{hint} Give the full object name of"
            " an image of the index, or ask by its gs:// address."
        )
    uris = [f"gs://{row['bucket']}/{name}" for row in rows]
    if len(uris) > 1:
        raise InvalidInput(
            f"{len(uris)} images are called {name!r}. Ask by address, as in"
            f" {' or '.join(uris[:3])}."
        )
    return Query(rows[0]["embedding"].to_numpy(), uris[0], 0)


async def embed_query(searcher: Searcher, space: Space, question: Question) -> Query:
    """Return the question's vector by the space's own model, dimension and preprocessing: one call.

    A text is compared as it is, whatever is done to pictures.

    A searcher that remembers it answers without one.

    Raises:
        InvalidInput: the picture was prepared for a space of another preprocessing.
        UnknownImage: there is no object at the address.
        UnreadablePicture: the file or the bytes are no picture that the model reads.
        EmbeddingError: the model did not answer with a vector.
        StorageError: the object could not be read.
    """
    data = await _prepare(searcher, space, question)
    key = _identify(space, question, data)
    if key is not None and (known := searcher.vectors.get(key)) is not None:
        return Query(known, question.uri, 0)
    embedder = await searcher.embedder(space)
    try:
        vector = await _embed_patiently(searcher, embedder, question, data)
    except ImageGone as error:
        raise UnknownImage(f"There is no {question.uri}: {error}") from error
    except ImageRefused as error:
        raise UnreadablePicture(f"The model does not take {question.label}: {error}") from error
    if key is not None:
        searcher.vectors.put(key, vector)
    return Query(vector, question.uri, 1)


async def _prepare(searcher: Searcher, space: Space, question: Question) -> bytes | None:
    """Return the picture as the space's own were prepared; None for what the model reads itself."""
    model = find_model(space.model, space.dimension)
    prepare = find_preparation(space.preprocessing)
    if question.file is not None:
        data = await asyncio.to_thread(read_file, question.file)
        return await asyncio.to_thread(prepare, data, str(question.file), model)
    if question.data is not None:
        if question.prepared:
            return _prepared_alike(space, question)
        return await asyncio.to_thread(prepare, question.data, "The upload", model)
    if question.uri is None or reads_images_itself(space.preprocessing):
        return None
    try:
        data = await download(await searcher.storage(), *parse_uri(question.uri))
    except ImageGone as error:
        raise UnknownImage(f"There is no {question.uri}: {error}") from error
    return await asyncio.to_thread(prepare, data, question.uri, model)


def _prepared_alike(space: Space, question: Question) -> bytes | None:
    if question.prepared != space.preprocessing:
        raise InvalidInput(
            f"The picture was prepared for {question.prepared!r}, and index {space.index!r} has"
            f" {space.preprocessing!r} now. Give the picture again."
        )
    return question.data


def _identify(space: Space, question: Question, data: bytes | None) -> Hashable | None:
    """Return what is the same where the vector is; None for an address, whose object may change."""
    if question.uri is not None:
        return None
    asked = question.text if data is None else hashlib.sha256(data).digest()
    return (space.model, space.dimension, space.preprocessing, asked)


async def _embed_patiently(
    searcher: Searcher, embedder: VertexEmbedder, question: Question, data: bytes | None
) -> Vector:
    for attempt in range(1, ATTEMPTS):
        try:
            return await _embed(searcher, embedder, question, data)
        except (TransientFailure, QuotaExceeded):
            await asyncio.sleep(FIRST_WAIT_SECONDS * attempt)
    return await _embed(searcher, embedder, question, data)


async def _embed(
    searcher: Searcher, embedder: VertexEmbedder, question: Question, data: bytes | None
) -> Vector:
    if question.text is not None:
        return await embedder.embed_text(question.text)
    if data is not None:
        return await embedder.embed_bytes(data)
    uri = question.uri or ""
    try:
        return await embedder.embed_uri(uri)
    except ImageReadDeadline:
        # The model cannot fetch it in time; we can.
        return await embedder.embed_bytes(await download(await searcher.storage(), *parse_uri(uri)))
