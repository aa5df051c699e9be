"""A bucket of any number of pictures that exist only in its listing.

It speaks as much of Cloud Storage's JSON API as it takes to list from a name on, and to look at an
object and its picture: the real local server reads a file an object, which at 50,000 objects
measures that server.
"""

import base64
import hashlib
import io
import json
import re
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

LARGEST_PAGE = 1000
NUMBERED = re.compile(r"\d{9}\.png$")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: int
    picture: bytes

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        if query.get("alt") == "media":
            self._answer(self.picture, "image/png")
        elif address.path.endswith("/o"):
            self._answer(json.dumps(self._page(query)).encode(), "application/json")
        elif NUMBERED.search(address.path):
            number = int(address.path[-len("000000000.png") : -len(".png")])
            self._answer(json.dumps(_describe(number)).encode(), "application/json")
        else:
            bucket = {"kind": "storage#bucket", "name": "birdwalk", "location": "LOCAL"}
            self._answer(json.dumps(bucket).encode(), "application/json")

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        start = bisect_left(range(self.objects), query.get("startOffset", ""), key=_name)
        first = int(query.get("pageToken", start))
        last = min(
            first + min(int(query.get("maxResults", LARGEST_PAGE)), LARGEST_PAGE), self.objects
        )
        page: dict[str, Any] = {"items": [_describe(number) for number in range(first, last)]}
        if last < self.objects:
            page["nextPageToken"] = str(last)
        return page

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Keep quiet: a line a request is no use to anybody here."""


def _name(number: int) -> str:
    return f"photos/{number:09d}.png"


def _describe(number: int) -> dict[str, str]:
    name = _name(number)
    md5 = hashlib.md5(name.encode(), usedforsecurity=False).digest()
    return {
        "name": name,
        "size": "3072",
        "md5Hash": base64.b64encode(md5).decode(),
        "crc32c": base64.b64encode(md5[:4]).decode(),
        "generation": str(1_700_000_000_000_000 + number),
        "contentType": "image/png",
        "updated": "2026-11-01T00:00:00.000Z",
    }


@contextmanager
def served_listing(objects: int) -> Iterator[str]:
    """Serve a bucket of so many pictures on loopback, and yield the server's address."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "skyblue").save(picture, "PNG")
    handler = type("Handler", (_Handler,), {"objects": objects, "picture": picture.getvalue()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
