"""What the gallery answers to each address. A dropped picture is a POST; all else only reads."""

import asyncio
from importlib import resources

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from deployments.gallery.answers import Json, answer_json, image_json, space_json, sync_json
from deployments.gallery.service import Gallery
from deployments.gallery.thumbnails import SIDES
from tasks.core.errors import InvalidInput, UnknownImage, UnreadablePicture
from tasks.core.searching.browse import (
    browse,
    find_image,
    list_folders,
    list_syncs,
)
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question, parse_uri
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.registry import (
    find_shown_space,
    list_spaces,
    require_images,
    require_shown_space,
)
from tasks.core.types import Image

PAGE_IMAGES = 100
NEIGHBOURS = 48
FOLDERS = 60
MOST_UPLOADED_BYTES = 20_000_000
UPLOAD_SECONDS = 120.0
"""A picture that trickles in keeps the place of another no longer."""

LONGEST_PREFIX = 1024
LONGEST_NUMBER = 40
FOR_A_YEAR = "private, max-age=31536000, immutable"
NOT_KEPT = "no-store"
PLACEHOLDER = resources.files("deployments.gallery").joinpath("static/placeholder.svg").read_bytes()


async def tell_health(_request: Request) -> Response:
    """Say that the server runs, and nothing of what it shows."""
    return PlainTextResponse("ok\n", headers={"Cache-Control": NOT_KEPT})


async def list_indexes(request: Request) -> Response:
    """Return the indexes that can be looked at, the one to show first at the front."""
    gallery, indexes = _gallery(request), []
    names = await gallery.published()
    searcher = await gallery.searcher()
    async with searcher.database.connection() as connection:
        for name in names:
            if (space := await find_shown_space(connection, name)) is not None:
                images = await gallery.count_images(connection, space)
                indexes.append({"name": name, "images": images})
    return Json(indexes)


async def list_images(request: Request) -> Response:
    """Return a page of an index's images."""
    gallery, query, prefix = _gallery(request), request.query_params, _prefix(request)
    index = await gallery.choose_index(query.get("index", ""))
    count = _count(request, PAGE_IMAGES)
    searcher = await gallery.searcher()
    async with searcher.database.connection() as connection:
        space = await require_shown_space(connection, index)
        page = await browse(
            *(connection, space, prefix, count),
            after=query.get("after"),
            before=query.get("before"),
        )
        if not page.images and not prefix:
            await require_images(connection, space)
    return Json(
        {
            "index": index,
            "images": [image_json(gallery.settings, index, image) for image in page.images],
            "before": page.images[0].uri if page.images and page.more_before else None,
            "after": page.images[-1].uri if page.images and page.more_after else None,
        }
    )


async def find_nearest(request: Request) -> Response:
    """Return the images nearest to one of the index, to a sentence, or to a dropped picture."""
    gallery, query = _gallery(request), request.query_params
    index = await gallery.choose_index(query.get("index", ""))
    picture = query.get("picture")
    dropped = None if picture is None else gallery.find_picture(picture)
    question = Question(
        uri=query.get("image"),
        text=query.get("text"),
        data=None if dropped is None else dropped.data,
        prepared="" if dropped is None else dropped.preprocessing,
        count=_count(request, NEIGHBOURS),
        prefix=_prefix(request),
    )
    searcher = await gallery.searcher()
    if question.uri is None:
        async with gallery.asking_the_model():
            answer, asked = await find_similar(searcher, index, question), None
    else:
        # The model reads objects outside of the index too: a visitor may not ask it for those.
        asked = await _require_indexed(searcher, index, question.uri)
        answer = await find_similar(searcher, index, question)
    shown = {} if picture is None else {"picture": f"/thumbnail?size=large&picture={picture}"}
    return Json({"index": index, **answer_json(gallery.settings, answer, asked), **shown})


async def keep_picture(request: Request) -> Response:
    """Keep the picture in the request's body for a while; return the name to ask with."""
    gallery = _gallery(request)
    index = await gallery.choose_index(request.query_params.get("index", ""))
    with gallery.uploading():
        name = await gallery.keep_picture(index, await _read_upload(request))
    return Json({"picture": name}, 201)


async def _read_upload(request: Request) -> bytes:
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await _read_body(request)
    except TimeoutError as error:
        raise UnreadablePicture(
            f"The picture did not arrive within {UPLOAD_SECONDS:.0f} s. Scale it down."
        ) from error
    except ClientDisconnect as error:
        # Who went to another view while it was on its way hears this no more.
        raise UnreadablePicture("The picture did not arrive whole. Drop it again.") from error


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_UPLOADED_BYTES:
            raise UnreadablePicture(
                f"The picture has more than {MOST_UPLOADED_BYTES // 1_000_000} MB. Scale it down."
            )
    if not body:
        raise UnreadablePicture("The picture is empty. Drop a picture file.")
    return bytes(body)


async def list_subfolders(request: Request) -> Response:
    """Return the first folders below a prefix, and how many more there are, or at least are."""
    gallery, prefix = _gallery(request), _prefix(request)
    index = await gallery.choose_index(request.query_params.get("index", ""))
    searcher = await gallery.searcher()
    async with searcher.database.connection() as connection:
        space = await require_shown_space(connection, index)
        found = await list_folders(connection, space, prefix)
    shown, rest = found.prefixes[:FOLDERS], found.prefixes[FOLDERS:]
    return Json({"folders": shown, "more": len(rest), "exact": found.exact})


async def tell_status(request: Request) -> Response:
    """Return the spaces of an index, and when which part of a bucket was last synced into it."""
    gallery = _gallery(request)
    index = await gallery.choose_index(request.query_params.get("index", ""))
    searcher = await gallery.searcher()
    async with searcher.database.connection() as connection:
        spaces = [
            space_json(space, await gallery.count_images(connection, space))
            for space in await list_spaces(connection, index)
        ]
        syncs = await list_syncs(connection, index)
    return Json(
        {
            "index": index,
            "spaces": spaces,
            "syncs": [sync_json(sync) for sync in syncs],
        }
    )


async def show_thumbnail(request: Request) -> Response:
    """Return the thumbnail of an image of the index, or of a dropped picture."""
    gallery, query = _gallery(request), request.query_params
    size = query.get("size", "small")
    if size not in SIDES:
        raise InvalidInput(f"size is {size!r}; expected one of {', '.join(SIDES)}.")
    if "picture" in query:
        data = gallery.find_picture(query["picture"]).shown
        shown = await gallery.thumbnails.draw(data, "The picture", size)
        return Response(shown.data, 200, {"Cache-Control": FOR_A_YEAR}, shown.media_type)
    generation = query.get("generation", "")
    if not (generation.isascii() and generation.isdigit()):
        raise InvalidInput(f"generation is {generation!r}; expected a number.")
    if len(generation) > LONGEST_NUMBER:
        raise InvalidInput(f"generation has {len(generation):,} digits; no object's has as many.")
    place, index = _place(query.get("uri", "")), query.get("index", "")
    index = await gallery.choose_index(index)
    found = await gallery.thumbnails.find(
        await gallery.searcher(), index, place, int(generation), size
    )
    if found is None:
        return Response(PLACEHOLDER, 200, {"Cache-Control": NOT_KEPT}, "image/svg+xml")
    kept = FOR_A_YEAR if found.current else NOT_KEPT
    return Response(found.data, 200, {"Cache-Control": kept}, found.media_type)


def _gallery(request: Request) -> Gallery:
    gallery: Gallery = request.app.state.gallery
    return gallery


def _prefix(request: Request) -> str:
    prefix = request.query_params.get("prefix", "")
    if len(prefix) > LONGEST_PREFIX:
        raise InvalidInput(f"The prefix is longer than any name: {len(prefix):,} characters.")
    return prefix


def _count(request: Request, usual: int) -> int:
    count = request.query_params.get("count", str(usual))
    if not (count.isascii() and count.isdigit()):
        raise InvalidInput(f"count is {count!r}; expected a number.")
    return int(count[:9])


def _place(uri: str) -> tuple[str, str]:
    if "\0" in uri:
        raise InvalidInput("An address holds a NUL, which no object's name in an index does.")
    return parse_uri(uri)


async def _require_indexed(searcher: Searcher, index: str, uri: str) -> Image:
    bucket, name = _place(uri)
    async with searcher.database.connection() as connection:
        space = await require_shown_space(connection, index)
        image = await find_image(connection, space, bucket, name)
    if image is None:
        raise UnknownImage(f"{uri} is not in index {index!r}. It may have left the bucket.")
    return image
