"""Bear with a server that is away for a while: say so once, and stop when it lasts too long."""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from tasks.core.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

PAUSES_WITHOUT_DATABASE = (1.0, 5.0, 15.0, 30.0, 30.0, 45.0)
"""Seconds between attempts to go on: in all, how long Postgres may be away, as in a restart."""

SECONDS_WITHOUT_DATABASE = 120.0
"""How long it may be away before a run is over."""

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass(slots=True)
class Outage:
    """The time for which a server has given no answer, if it is away.

    Attributes:
        server: what is away, as a message begins: "Prefect's server".
        longest_seconds: how long that is borne with.
        warn: told once an outage.
    """

    server: str
    longest_seconds: float
    warn: Callable[[str], object]
    since: float | None = None

    def over(self) -> None:
        """Note an answer."""
        self.since = None

    def lasts(self, error: Exception) -> bool:
        """Note that there was no answer, and return whether that is so for too long."""
        now = time.monotonic()
        if self.since is None:
            self.since = now
            self.warn(
                f"{self.server} does not answer ({type(error).__name__}: {error}); the run goes on"
                f" without it, for {self.longest_seconds / 60:.0f} minutes at most."
            )
        return now - self.since > self.longest_seconds


def outlasting(work: Callable[P, Awaitable[Result]]) -> Callable[P, Awaitable[Result]]:
    """Let a question be asked again while Postgres is away; for what is not a task, nor in one.

    Raises:
        DatabaseUnavailable: it was away for too long.
    """

    @functools.wraps(work)
    async def asked(*arguments: P.args, **options: P.kwargs) -> Result:
        for pause in PAUSES_WITHOUT_DATABASE:
            try:
                return await work(*arguments, **options)
            except DatabaseUnavailable as error:
                logger.warning("%s Asked again in %.0f s.", error, pause)
                await asyncio.sleep(pause)
        return await work(*arguments, **options)

    return asked
