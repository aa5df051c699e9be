"""Missing Google credentials keep nobody waiting but those who need them, and them only once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError

from tasks.core.errors import BirdwalkError
from tasks.core.searching import searcher as module
from tasks.core.searching.searcher import Searcher
from tasks.core.settings import Settings
from tests.support.scripted import SPACE

Ask = Callable[[Searcher], Awaitable[Any]]
ASKS: dict[str, Ask] = {
    "model": lambda searcher: searcher.embedder(SPACE),
    "storage": lambda searcher: searcher.storage(),
}


class MetadataServer:
    """Stands for the search for credentials: finds none, as soon as it is told to end."""

    def __init__(self) -> None:
        self.asked = 0
        self.end = threading.Event()

    def default(self, *_: object, **__: object) -> None:
        self.asked += 1
        assert self.end.wait(20), "the event loop stood still meanwhile"
        raise DefaultCredentialsError("there are none")


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> MetadataServer:
    server = MetadataServer()
    monkeypatch.setattr(google.auth, "default", server.default)
    return server


@pytest.fixture
async def searcher(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Searcher]:
    monkeypatch.setattr(module, "FAILURE_SECONDS", 3600.0)  # however long a test is held up
    async with AsyncExitStack() as stack:
        settings = Settings(storage_endpoint=None, vertex_endpoint=None)
        yield Searcher(settings, cast("Any", None), stack)


@pytest.mark.parametrize("what", ASKS)
async def test_the_event_loop_goes_on_while_credentials_are_looked_for(
    metadata: MetadataServer, searcher: Searcher, what: str
) -> None:
    asking = asyncio.ensure_future(ASKS[what](searcher))
    while not metadata.asked:  # noqa: ASYNC110 - the other thread sets no event of asyncio's
        await asyncio.sleep(0.001)
    metadata.end.set()
    with pytest.raises(BirdwalkError, match="No usable Google credentials: there are none"):
        await asking


@pytest.mark.parametrize("what", ASKS)
async def test_they_are_looked_for_once_for_all_who_ask_within_seconds(
    metadata: MetadataServer, searcher: Searcher, what: str
) -> None:
    metadata.end.set()
    asks = (ASKS[what](searcher) for _ in range(100))
    told = await asyncio.gather(*asks, return_exceptions=True)
    assert all(isinstance(error, BirdwalkError) for error in told)
    assert metadata.asked == 1


@pytest.mark.parametrize("what", ASKS)
async def test_they_are_looked_for_again_later(
    metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(module, "FAILURE_SECONDS", 0.0)
    metadata.end.set()
    async with AsyncExitStack() as stack:
        impatient = Searcher(Settings(), cast("Any", None), stack)
        for _ in range(2):
            with pytest.raises(BirdwalkError, match="there are none"):
                await ASKS[what](impatient)
    assert metadata.asked == 2
