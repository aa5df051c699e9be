"""Open what is shared when it is first asked for, once, however many ask at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tasks.core.errors import BirdwalkError

Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be opened, and when."""

    error: BirdwalkError
    at: float


class Lazy(Generic[Opened]):
    """Something that is opened when it is first asked for.

    That it could not be opened is kept for a while: finding out can take seconds, and would take
    them anew for each of a page's requests.
    """

    def __init__(self, open_: Callable[[], Awaitable[Opened]], failure_seconds: float) -> None:
        self._open = open_
        self._failure_seconds = failure_seconds
        self._opened: Opened | None = None
        self._failure: Failure | None = None
        self._opening = asyncio.Lock()

    async def get(self) -> Opened:
        """Return it; who asks while it is being opened waits for that.

        Raises:
            BirdwalkError: it could not be opened, now or within the last seconds.
        """
        async with self._opening:
            if self._opened is None:
                self._opened = await self._try()
        return self._opened

    async def _try(self) -> Opened:
        known = self._failure
        if known is not None and time.monotonic() - known.at < self._failure_seconds:
            # Without the traceback of who was told before.
            raise known.error.with_traceback(None)
        try:
            return await self._open()
        except BirdwalkError as error:
            self._failure = Failure(error, time.monotonic())
            raise
