"""Look at an index without running a flow: the command `birdwalk gallery`."""

import logging

from flows.terminal.exits import make_app, run_app
from tasks.core.errors import BirdwalkError

PORT = 4280
DEFAULT_INDEX = "image_embeddings"


def gallery(*, index: str = DEFAULT_INDEX, host: str = "127.0.0.1", port: int = PORT) -> None:
    """Show the pictures of an index on a page of your browser, and ask it there.

    Args:
        index: Shown to who names none.
        host: Address to answer at; any but this machine's own needs BIRDWALK_GALLERY_TOKEN.
        port: Port to answer at; 0 takes a free one.
    """
    from deployments.gallery.server import serve
    from tasks.core.settings import get_settings

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    serve(get_settings(), index, host, port)


if __name__ == "__main__":
    app = make_app("python -m deployments.gallery")
    app.default(gallery)
    run_app(app, (BirdwalkError,))
