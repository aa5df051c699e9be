"""Who may see the gallery: this machine alone, or whoever shows the token.

Every answer leaves with headers that keep other sites out of it. On loopback the Host header must
name this machine: else a site could point its own name at 127.0.0.1 and read the gallery through a
visitor's browser.
"""

import hashlib
import hmac
import ipaddress
from urllib.parse import urlencode, urlsplit

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.core.errors import InvalidInput

COOKIE = "birdwalk_gallery"
COOKIE_SECONDS = 30 * 24 * 3600
SHORTEST_TOKEN = 16
HEALTH = "/health"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
        " object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

HOW_TO_ENTER = (
    "This gallery asks for its token. Open it once as /?token=... with the value of"
    " BIRDWALK_GALLERY_TOKEN, or send it as Authorization: Bearer."
)
OTHER_HOST = (
    "This gallery answers to this machine's own names alone: open it as http://127.0.0.1 or"
    " http://localhost."
)
OTHER_SITE = "Another site's page asked for this. Open the gallery itself."


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def refuse_open_door(host: str, token: str | None) -> None:
    """Let an address to bind to pass where nobody else can reach it, or a token is asked for.

    Raises:
        InvalidInput: neither; or the token could be guessed.
    """
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise InvalidInput(
            f"BIRDWALK_GALLERY_TOKEN has {len(token)} characters; at least {SHORTEST_TOKEN} are"
            " needed, as from: openssl rand -hex 16"
        )
    if token is None and not is_loopback(host):
        raise InvalidInput(
            f"The gallery shows every picture of the index: on {host} it needs a token. Set"
            " BIRDWALK_GALLERY_TOKEN, or leave --host at 127.0.0.1."
        )


class Guard:
    """Lets requests through to an application that come from where they should."""

    def __init__(self, app: ASGIApp, token: str | None, *, loopback: bool) -> None:
        self._app = app
        self._token = token
        # The cookie tells nobody the token.
        self._cookie = token and hashlib.sha256(f"birdwalk gallery {token}".encode()).hexdigest()
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        refusal = self._refuse(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send_guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is not let through."""
        headers = Headers(scope=scope)
        if self._loopback and not _names_this_machine(headers.get("host", "")):
            return _say(scope, 421, OTHER_HOST)
        if _is_another_sites(scope, headers):
            return _say(scope, 403, OTHER_SITE)
        if self._token is None or scope["path"] == HEALTH:
            return None
        return self._ask_for_token(Request(scope), self._token)

    def _ask_for_token(self, request: Request, token: str) -> Response | None:
        if "token" in request.query_params and request.method == "GET":
            if not _equal(request.query_params["token"], token):
                return _say(request.scope, 401, HOW_TO_ENTER)
            return self._remember(request)
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(shown.strip(), token):
            return None
        if _equal(request.cookies.get(COOKIE, ""), self._cookie or ""):
            return None
        return _say(request.scope, 401, HOW_TO_ENTER)

    def _remember(self, request: Request) -> Response:
        """Return a redirect that leaves the token out of the address, and out of its history."""
        rest = [(name, value) for name, value in request.query_params.multi_items()]
        rest = [(name, value) for name, value in rest if name != "token"]
        # Of two slashes at the front a browser would make another host.
        path = "/" + request.url.path.lstrip("/")
        response = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)
        response.set_cookie(
            COOKIE,
            self._cookie or "",
            max_age=COOKIE_SECONDS,
            httponly=True,
            # Not strict: it must also come with the first page after a link in a message.
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        response.headers["Cache-Control"] = "no-store"
        return response


def _equal(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())


def _names_this_machine(host: str) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _is_another_sites(scope: Scope, headers: Headers) -> bool:
    """Tell whether another site's page sent the request; links to the page itself are welcome."""
    site = headers.get("sec-fetch-site")
    if site in {"same-origin", "none"}:
        # The browser itself says so, and pages cannot: the Host that a proxy sends is its own.
        return False
    if site is not None:
        follows_link = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
        return not (follows_link and scope["method"] == "GET")
    if scope["method"] in {"GET", "HEAD"}:
        return False
    # Browsers send the origin with every POST; a program that sends none has no visitor to abuse.
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def _say(scope: Scope, status: int, sentence: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if scope["path"].startswith("/api/"):
        body = orjson.dumps({"error": sentence})
        return Response(body, status, headers, media_type="application/json")
    return PlainTextResponse(f"{sentence}\n", status, headers)
