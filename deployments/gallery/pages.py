"""The page's own files, served as they stand in static/: nothing builds them."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the page; its tag changes with its bytes."""

    data: bytes
    media_type: str
    tag: str


@cache
def read_files() -> dict[str, StaticFile]:
    """Return the page's files by name."""
    files = {}
    for file in resources.files("deployments.gallery").joinpath("static").iterdir():
        media_type = MEDIA_TYPES.get(file.name[file.name.rfind(".") :])
        if media_type is not None:
            data = file.read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            files[file.name] = StaticFile(data, media_type, tag)
    return files


async def serve_file(request: Request) -> Response:
    """Return the page, or one of its files; 304 where the browser has it as it is."""
    file = read_files().get(request.path_params.get("name", INDEX))
    if file is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "no-cache", "ETag": file.tag}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.data, 200, headers, file.media_type)
