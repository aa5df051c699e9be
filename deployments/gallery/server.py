"""Serve the gallery: bind its address, and answer until it is told to end."""

import asyncio
import socket

import uvicorn

from deployments.gallery.app import make_app
from deployments.gallery.guard import refuse_open_door
from tasks.core.errors import InvalidInput
from tasks.core.settings import Settings

BACKLOG = 512


def serve(settings: Settings, index: str, host: str, port: int) -> None:
    """Serve the gallery until SIGINT or SIGTERM.

    Raises:
        InvalidInput: the address would let in whoever can reach it, or cannot be used.
    """
    token = settings.gallery_token
    refuse_open_door(host, None if token is None else token.get_secret_value())
    listening = bind(host, port)
    server = make_server(settings, index, host)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}/"
    how = "" if token is None else "?token=...  with the value of BIRDWALK_GALLERY_TOKEN"
    print(f"The gallery: {address}{how}", flush=True)
    asyncio.run(server.serve(sockets=[listening]))


def make_server(settings: Settings, index: str, host: str) -> uvicorn.Server:
    """Return the server of the gallery, for a socket that is bound to a host."""
    return uvicorn.Server(
        uvicorn.Config(
            make_app(settings, index, host),
            # Addresses of requests can hold the token: nothing of them is logged.
            access_log=False,
            log_level="warning",
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=5,
        )
    )


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 is a free one.

    Raises:
        InvalidInput: the address is not this machine's, or in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off where a socket says that it is TCP, which one of
    # socket.create_server does not: answers then wait 40 ms for the visitor's acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        listening.close()
        raise InvalidInput(
            f"The gallery cannot answer at {host}, port {port}: {error}. Choose another --port."
        ) from error
    return listening
