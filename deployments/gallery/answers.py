"""The gallery's answers as JSON: what the page's script reads."""

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tasks.core.errors import (
    BirdwalkError,
    DatabaseError,
    EmbeddingError,
    EmptyIndex,
    InvalidInput,
    QuotaExceeded,
    StorageError,
    TransientFailure,
    UnknownImage,
    UnknownIndex,
)
from tasks.core.google.storage import object_link
from tasks.core.searching.browse import LastSync
from tasks.core.searching.find_similar import Answer
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tasks.core.types import Image, Neighbour

STATUSES: tuple[tuple[type[BirdwalkError], int], ...] = (
    (UnknownImage, 404),
    (UnknownIndex, 404),
    (EmptyIndex, 404),
    (InvalidInput, 400),
    (DatabaseError, 503),
    (QuotaExceeded, 503),
    (TransientFailure, 503),
    (EmbeddingError, 502),
    (StorageError, 502),
)
"""The first that fits; any other error is a 500."""

PASSING = (DatabaseError, UnknownIndex, EmptyIndex)
"""Over when Postgres is back, or a first sync ends: the page asks again by itself."""

log = logging.getLogger(__name__)


class Json(Response):
    """A value as JSON, never kept by a browser: the next sync may change it."""

    media_type = "application/json"

    def __init__(self, value: Any, status: int = 200) -> None:
        super().__init__(orjson.dumps(value), status, {"Cache-Control": "no-store"})


async def tell_error(_request: Request, error: Exception) -> Response:
    """Return what went wrong as the sentence that the page shows."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s", error)
    kind, passing = type(error).__name__, isinstance(error, PASSING)
    return Json({"error": str(error), "kind": kind, "passing": passing}, status)


async def tell_failure(_request: Request, _error: Exception) -> Response:
    """Return a sentence for an error of the gallery's own; uvicorn logs its traceback."""
    sentence = "The gallery itself failed. Its log says how."
    return Json({"error": sentence, "kind": "Failure", "passing": False}, 500)


def image_json(settings: Settings, index: str, image: Image | Neighbour) -> dict[str, Any]:
    """Return an image as the page shows it; another version of it has other thumbnails."""
    query = urlencode({"index": index, "uri": image.uri, "generation": image.generation})
    return {
        "uri": image.uri,
        "bucket": image.bucket,
        "name": image.image_id,
        "thumbnail": f"/thumbnail?{query}&size=small",
        "picture": f"/thumbnail?{query}&size=large",
        "link": object_link(settings, image.bucket, image.image_id),
    }


def answer_json(settings: Settings, answer: Answer, asked: Image | None) -> dict[str, Any]:
    """Return a question's answer, the nearest first; `asked` is the image of the index it is about.

    The page lists the warnings of the question alone: it sees itself how many images there are.
    """
    index = answer.space.index
    return {
        "asked": None if asked is None else image_json(settings, index, asked),
        "images": [
            {
                **image_json(settings, index, neighbour),
                "rank": rank,
                "distance": neighbour.distance,
            }
            for rank, neighbour in enumerate(answer.neighbours, start=1)
        ],
        "calls": answer.calls,
        "warnings": list(answer.question.warnings),
    }


def space_json(space: Space, images: int) -> dict[str, Any]:
    """Return a space and how many images it has as the foot of the page shows it."""
    return {
        "id": space.space_id,
        "model": space.model,
        "dimension": space.dimension,
        "preprocessing": space.preprocessing,
        "status": space.status,
        "images": images,
        "recall": space.recall,
        "published_at": space.published_at,
    }


def sync_json(sync: LastSync) -> dict[str, Any]:
    """Return the last sync of a part of a bucket as the foot of the page shows it."""
    return {"source": f"gs://{sync.bucket}/{sync.prefix}", "synced_at": sync.synced_at}
