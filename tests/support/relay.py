"""A network between a client and Postgres that can be lost without a word to either."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

CHUNK = 65536


class Relay:
    """Carries bytes between a TCP port and Postgres's Unix socket.

    Attributes:
        dead: nothing arrives any more, also of what connects from now on; nothing is closed.
        away: whoever connects is sent away, as by a Postgres that restarts.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        asked = parse_qs(parts.query)
        self._socket = f"{asked['host'][0]}/.s.PGSQL.{asked['port'][0]}"
        self._database = parts.path.strip("/")
        self.dead = False
        self.away = False
        self._port = 0
        self._servers: list[asyncio.StreamWriter] = []
        self._carriers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address of the database through the relay."""
        place = f"127.0.0.1:{self._port}/{self._database}"
        return f"postgresql://postgres@{place}?sslmode=disable"

    def lose_connections(self, *, server_notices: bool) -> None:
        """Carry nothing more over the connections there are; the clients are told nothing.

        Args:
            server_notices: whether Postgres ends its sessions, as it does when nobody answers it.
        """
        for carrier in self._carriers:
            carrier.cancel()
        if server_notices:
            for server in self._servers:
                server.close()

    def go_away(self) -> None:
        """End all connections, and let nobody connect: both sides are told at once."""
        self.away = True
        self._let_go()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Relay"]:
        """Carry until the block ends."""
        listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self._port = listener.sockets[0].getsockname()[1]
        async with listener:
            try:
                yield self
            finally:
                self._let_go()

    def _let_go(self) -> None:
        for carrier in self._carriers:
            carrier.cancel()
        for server in self._servers:
            server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.close()
            return
        from_server, to_server = await asyncio.open_unix_connection(self._socket)
        # Kept, so that neither side is closed because nobody knows it any more.
        self._servers += [to_server, writer]
        for source, target in ((reader, to_server), (from_server, writer)):
            carrier = asyncio.create_task(self._carry(source, target))
            self._carriers.add(carrier)
            carrier.add_done_callback(self._carriers.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(CHUNK):
                if not self.dead:
                    target.write(data)
                    await target.drain()
            target.close()
