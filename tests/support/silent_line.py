"""A line to a database that can go dead without a word, as when its host vanishes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit, urlunsplit


class Line:
    """What stands between a client and a database's socket.

    Attributes:
        dead: nothing that is sent arrives any more, in either direction; nothing is closed.
    """

    def __init__(self, socket: str) -> None:
        self.dead = False
        self._socket = socket
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lead a client to the database."""
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            self._tasks.append(asyncio.create_task(self._carry(source, sink)))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if not self.dead:
                    sink.write(data)
        except OSError:
            pass  # one end closed it: so the other is told
        finally:
            sink.close()

    async def close(self) -> None:
        """Let go of all who are connected."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[tuple[str, Line]]:
    """Yield the address of the stack's database through a line, and the line."""
    parts = urlsplit(url)
    place = {name: value for name, [value] in parse_qs(parts.query).items()}
    line = Line(f"{place['host']}/.s.PGSQL.{place['port']}")
    server = await asyncio.start_server(line.connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield urlunsplit(parts._replace(netloc=f"{parts.netloc}127.0.0.1:{port}", query="")), line
    finally:
        server.close()
        await line.close()
