"""Keep what was asked for last, and what is shared once it is open."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tasks.core.errors import BirdwalkError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Holds values up to a total weight; those that were not asked for longest make room.

    Attributes:
        most: the weight that all values together may have, in whatever `put` is told, as bytes.
        weight: what they have now.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.weight = 0
        self._held: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Key) -> Value | None:
        """Return a value, which counts as asked for now; None where it is not held."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Hold a value in place of the key's former one; one that alone is too heavy is not."""
        if key in self._held:
            self.weight -= self._held.pop(key)[1]
        if weight > self.most:
            return
        self._held[key] = (value, weight)
        self.weight += weight
        while self.weight > self.most:
            _, (_, freed) = self._held.popitem(last=False)
            self.weight -= freed


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
