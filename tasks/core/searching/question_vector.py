"""From a question to its vector: stored in the index already, or asked of the model."""

import asyncio
import hashlib
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass

from tasks.core.database.connections import Connection
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
from tasks.core.spaces.nearest import find_vectors, unknown_image
from tasks.core.spaces.registry import Space
from tasks.core.types import Vector

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
    if question.uri is not None:
        bucket, image_id = parse_uri(question.uri)
        found = await find_vectors(connection, space, image_id, bucket)
        return Query(found[0].vector, question.uri, 0) if found else None
    if question.image_id is None:
        return None
    name = question.image_id
    found = await find_vectors(connection, space, name)
    if not found:
        raise await unknown_image(connection, space, name)
    uris = [f"gs://{one.bucket}/{name}" for one in found]
    if len(uris) > 1:
        raise InvalidInput(
            f"{len(uris)} images are called {name!r}. Ask by address, as in"
            f" {' or '.join(uris[:3])}."
        )
    return Query(found[0].vector, uris[0], 0)


async def embed_query(searcher: Searcher, space: Space, question: Question) -> Query:
    """Ask the space's own model for the question's vector: one call, or none if it is remembered.

    A picture is prepared first as those of the space were; a text needs no preparing.

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
        vector = await _embed_with_retries(searcher, embedder, question, data)
    except ImageGone as error:
        raise UnknownImage(f"There is no {question.uri}: {error}") from error
    except ImageRefused as error:
        raise UnreadablePicture(f"The model does not take {question.label}: {error}") from error
    if key is not None:
        with suppress(ValueError):  # a searcher that remembers nothing
            searcher.vectors[key] = vector
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
    """Return the key under which the vector is remembered.

    None for an address: its object may change.
    """
    if question.uri is not None:
        return None
    asked = question.text if data is None else hashlib.sha256(data).digest()
    return (space.model, space.dimension, space.preprocessing, asked)


async def _embed_with_retries(
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
