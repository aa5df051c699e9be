"""The gallery as a web application: one page, the answers its script asks for, and thumbnails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from deployments.gallery import endpoints
from deployments.gallery.answers import tell_error, tell_failure
from deployments.gallery.guard import HEALTH, Guard, is_loopback
from deployments.gallery.pages import serve_file
from deployments.gallery.service import open_gallery
from tasks.core.errors import BirdwalkError
from tasks.core.settings import Settings


def make_app(settings: Settings, index: str, host: str) -> ASGIApp:
    """Return the application, guarded as the address that it is bound to asks for.

    Args:
        settings: where everything is; `gallery_token` is asked of visitors where it is set.
        index: shown to who names none.
        host: name or address that the server is bound to.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_gallery(settings, index) as gallery:
            app.state.gallery = gallery
            yield

    app = Starlette(
        routes=[
            Route("/thumbnail", endpoints.show_thumbnail),
            Route("/api/images", endpoints.list_images),
            Route("/api/similar", endpoints.find_nearest),
            Route("/api/pictures", endpoints.keep_picture, methods=["POST"]),
            Route("/api/indexes", endpoints.list_indexes),
            Route("/api/folders", endpoints.list_subfolders),
            Route("/api/status", endpoints.tell_status),
            Route(HEALTH, endpoints.tell_health),
            Route("/", serve_file),
            Route("/static/{name}", serve_file),
        ],
        exception_handlers={BirdwalkError: tell_error, Exception: tell_failure},
        lifespan=lifespan,
    )
    token = settings.gallery_token
    shown = None if token is None else token.get_secret_value()
    # Another site has no cookie of this one's: with a token any name will do, as of a proxy.
    return Guard(app, shown, loopback=shown is None and is_loopback(host))
