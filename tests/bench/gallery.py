"""How long the gallery takes to show a page, and what is nearest to a picture that was clicked.

Times are a client's on the same machine, from the request to the last byte of the answer: the
server's own and a little more. The model is not asked.

The bar is held against each kind of request on its own, ten at once: the names of a page, a
thumbnail that the gallery has, one that it has yet to read, decode and scale, and a click. A whole
page is held to it for one visitor, once its thumbnails are made; the first look at a page of 100
that nobody has seen waits for 100 of them, and is held to nothing.
"""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import numpy as np
import orjson
from pgvector.asyncpg import register_vector

from deployments.local.vertex.options import ModelServerOptions
from tasks.core.concurrency import for_each
from tasks.core.database.statements import statements_of
from tasks.core.searching.browse import BEHIND_ALL_NAMES
from tasks.core.spaces.registry import Space, require_shown_space
from tests.bench.figures import Bar, Figure
from tests.bench.session import DIMENSION, NO_QUOTA, ROOT, MeasurementFailed, Session

browse_sql = statements_of("tasks.core.searching.browse")
nearest_sql = statements_of("tasks.core.spaces.nearest")
similar_sql = statements_of("tasks.core.searching.find_similar")

TITLE = "Gallery: 10,000 pictures of 512 pixels, 128 dimensions, 10 requests at once, p95 of 200"
BUCKET = "gallery"
IMAGES = 10_000
REQUESTS = 200
AT_ONCE = 10
VISITOR_CONNECTIONS = 6
"""What a browser opens to one server over HTTP/1.1."""

PAGES = 20
BAR = Bar("figure", "at most", 150.0)
MILLISECONDS = 1000.0
NEIGHBOURS = 48
NAMES = "SELECT image_id FROM {images} ORDER BY random() LIMIT $1"

Work = Callable[[Any], Awaitable[object]]


async def measure(session: Session) -> list[Figure]:
    """Fill a bucket and an index, and ask the gallery for pages, thumbnails and neighbours."""
    await session.set_model(ModelServerOptions(instant=True))
    await _fill_bucket(session)
    async with session.fresh_index() as index:
        await session.run(
            *("flows.embed_images", "--bucket", BUCKET, "--index", index),
            *("--dimension", str(DIMENSION), "--requests-per-minute", str(NO_QUOTA)),
        )
        async with _bare(session, index) as bare, _gallery(session, index) as gallery:
            return await _compare(bare, gallery, index)


class Bare:
    """The same rows by bare SQL."""

    def __init__(self, pool: asyncpg.Pool, space: Space, names: Sequence[str]) -> None:
        self._pool = pool
        self._page = browse_sql("select_page_after", **space.tables)
        self._vector = nearest_sql("select_vectors", **space.tables)
        self._nearest = similar_sql("search", **space.tables)
        self.names = names

    async def page(self, _: object) -> None:
        """Read the first page."""
        await self._pool.fetch(self._page, "", "", "", BEHIND_ALL_NAMES, 101)

    async def nearest(self, name: str) -> None:
        """Read an image's vector, and what is nearest to it."""
        async with self._pool.acquire() as connection:
            (found,) = await connection.fetch(self._vector, BUCKET, name)
            count = NEIGHBOURS + 1
            await connection.fetch(self._nearest, found["embedding"], count, "", count, None)


class Gallery:
    """A client of the gallery, so plain that the time is the server's; connections are kept."""

    def __init__(self, index: str) -> None:
        self._index = index
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._free = asyncio.Queue()

    async def open(self, port: int) -> None:
        """Connect as often as requests are made at once."""
        for _ in range(AT_ONCE):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", port))

    async def close(self) -> None:
        """Give up the connections."""
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    async def read(self, path: str) -> bytes:
        """Return what is there.

        Raises:
            MeasurementFailed: nothing is.
        """
        reader, writer = await self._free.get()
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"\r\ncontent-length: (\d+)\r\n", head)
            if not head.startswith("http/1.1 200 ") or length is None:
                raise MeasurementFailed(f"{path} was answered with:\n{head}")
            return await reader.readexactly(int(length[1]))
        finally:
            self._free.put_nowait((reader, writer))

    async def page(self, after: object = "") -> list[str]:
        """Return the addresses of a page's thumbnails."""
        place = f"&after={quote(str(after))}" if after else ""
        answer = orjson.loads(await self.read(f"/api/images?index={self._index}{place}"))
        return [image["thumbnail"] for image in answer["images"]]

    async def whole_page(self, _: object = None) -> None:
        """Read the first page with all its thumbnails, as one browser would."""
        thumbnails = await self.page()
        await for_each(thumbnails, self.read, VISITOR_CONNECTIONS)

    async def nearest(self, name: str) -> None:
        """Read what is nearest to an image.

        Raises:
            MeasurementFailed: not so many were found.
        """
        uri = quote(f"gs://{BUCKET}/{name}")
        answer = orjson.loads(await self.read(f"/api/similar?index={self._index}&image={uri}"))
        if len(answer["images"]) != NEIGHBOURS or answer["calls"]:
            raise MeasurementFailed(f"{len(answer['images'])} were nearest to {name}.")


async def _compare(bare: Bare, gallery: Gallery, index: str) -> list[Figure]:
    first = await gallery.page()
    answer = orjson.loads(await gallery.read(f"/api/images?index={index}"))
    thumbnails = first + await gallery.page(answer["after"])
    if len(thumbnails) != REQUESTS:
        raise MeasurementFailed(f"Two pages have {len(thumbnails)} thumbnails.")
    bare_answer = await _p95(gallery.read, ["/health"] * REQUESTS)
    cold = await _p95(gallery.read, thumbnails)
    warm = await _p95(gallery.read, thumbnails)
    bare_page = await _p95(bare.page, range(REQUESTS))
    page = await _p95(gallery.page, [""] * REQUESTS)
    bare_nearest = await _p95(bare.nearest, bare.names)
    nearest = await _p95(gallery.nearest, bare.names)
    whole = await _p95(gallery.whole_page, range(PAGES), at_once=1)
    return [
        Figure("first page: its 100 names", page, bare_page, "bare SQL", "ms", BAR),
        Figure("a thumbnail, made before", warm, bare_answer, "an answer of 3 bytes", "ms", BAR),
        Figure("a thumbnail, not made yet", cold, warm, "made before", "ms", BAR),
        Figure("click to 48 neighbours", nearest, bare_nearest, "bare SQL", "ms", BAR),
        Figure(
            f"first page with its 100 thumbnails, one visitor, p95 of {PAGES}",
            *(whole, 101 * warm / AT_ONCE, "101 thumbnails at the pace above", "ms", BAR),
        ),
    ]


async def _p95(work: Work, items: Sequence[Any], at_once: int = AT_ONCE) -> float:
    """Return the milliseconds within which 95 of 100 were done."""

    async def timed(item: object) -> float:
        start = time.perf_counter()
        await work(item)
        return time.perf_counter() - start

    return float(np.percentile(await for_each(items, timed, at_once), 95)) * MILLISECONDS


async def _fill_bucket(session: Session) -> None:
    """Put the pictures into a bucket of their own, no two with the same bytes."""
    samples = [path.read_bytes() for path in session.samples[: len(session.samples) // 3]]
    endpoint = session.addresses.storage_endpoint
    async with httpx.AsyncClient(base_url=endpoint, trust_env=False, timeout=60) as client:
        await client.post("/storage/v1/b", json={"name": BUCKET})

        async def put(number: int) -> None:
            # Decoders pass over what follows the picture.
            data = samples[number % len(samples)] + number.to_bytes(4, "big")
            answer = await client.post(
                f"/upload/storage/v1/b/{BUCKET}/o",
                params={"uploadType": "media", "name": f"{number // 1000:02d}/{number:05d}.png"},
                content=data,
                headers={"Content-Type": "image/png"},
            )
            answer.raise_for_status()

        await for_each(range(IMAGES), put, AT_ONCE)


@asynccontextmanager
async def _bare(session: Session, index: str) -> AsyncIterator[Bare]:
    async with asyncpg.create_pool(
        session.addresses.database_url, min_size=AT_ONCE, max_size=AT_ONCE, init=register_vector
    ) as pool:
        space = await require_shown_space(pool, index)
        names = [row[0] for row in await pool.fetch(NAMES.format(**space.tables), REQUESTS)]
        yield Bare(pool, space, names)


@asynccontextmanager
async def _gallery(session: Session, index: str) -> AsyncIterator[Gallery]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deployments.gallery", "--port", "0", "--index", index),
        cwd=ROOT,
        env={**os.environ, **session.addresses.environment()},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise MeasurementFailed(f"The gallery did not start: {line}")
        gallery = Gallery(index)
        await gallery.open(int(found[1]))
        yield gallery
        await gallery.close()
    finally:
        process.terminate()
        await process.wait()
