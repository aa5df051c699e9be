"""How long a run waits for Postgres when it is away."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from tasks.core.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

PAUSES_WITHOUT_DATABASE = (1.0, 5.0, 15.0, 30.0, 30.0, 45.0)
"""Seconds between attempts to go on: in all, how long Postgres may be away, as in a restart."""

SECONDS_WITHOUT_DATABASE = 120.0
"""How long it may be away before a run is over."""

P = ParamSpec("P")
Result = TypeVar("Result")


def outlasting(work: Callable[P, Awaitable[Result]]) -> Callable[P, Awaitable[Result]]:
    """Retry while Postgres is unreachable; for code outside Prefect tasks.

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
