"""A storage server on loopback that gives prepared answers, for those the real one never gives."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

Answer: TypeAlias = tuple[int, Any]
"""An HTTP status and a JSON body."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in: its path, and its query's parameters."""

    path: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class AnsweringStorage:
    """Where the server answers, and what it was asked so far."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)


def google_error(status: int, reason: str, message: str) -> Answer:
    """Return an error as Cloud Storage's JSON API words it."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return status, {"error": {"code": status, "message": message, "errors": errors}}


def forbidden(_request: Request) -> Answer:
    """Refuse to list, in Cloud Storage's words."""
    message = (
        "worker@example.iam.gserviceaccount.com does not have storage.objects.list access to the"
        " Google Cloud Storage bucket. Permission 'storage.objects.list' denied on resource (or it"
        " may not exist)."
    )
    return google_error(403, "forbidden", message)


def unavailable(_request: Request) -> Answer:
    """Fail as an overloaded server does."""
    return google_error(503, "backendError", "Service temporarily unavailable.")


@contextmanager
def answering_storage(answer: Callable[[Request], Answer]) -> Iterator[AnsweringStorage]:
    """Run a server that answers every GET by `answer`, and remembers what it was asked."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
            requests.append(Request(parts.path, parameters))
            status, body = answer(requests[-1])
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None:
            """Stay silent: the test reads `requests`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield AnsweringStorage(f"http://127.0.0.1:{server.server_port}", requests)
        finally:
            server.shutdown()
            thread.join()
