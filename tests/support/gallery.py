"""A gallery on loopback for one test, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from deployments.gallery.__main__ import DEFAULT_INDEX
from deployments.gallery.server import bind, make_server
from tasks.core.settings import Settings


@asynccontextmanager
async def running_gallery(
    settings: Settings, index: str = DEFAULT_INDEX
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the gallery, and yield a client of it."""
    listening = bind("127.0.0.1", 0)
    server = make_server(settings, index, "127.0.0.1")
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def read(client: httpx.AsyncClient, path: str, **query: object) -> Any:
    answer = await client.get(path, params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(client: httpx.AsyncClient, path: str, **query: object) -> tuple[int, str]:
    answer = await client.get(path, params={name: str(value) for name, value in query.items()})
    return answer.status_code, answer.json()["error"]
