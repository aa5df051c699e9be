"""Do the same thing to many items, a few at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeVar

BATCHES_IN_FLIGHT = 3
"""Batches that a process has under way: the tail of one must not leave the quota idle."""

Item = TypeVar("Item")
Result = TypeVar("Result")


async def for_each(
    items: Iterable[Item] | AsyncIterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    at_once: int,
) -> list[Result]:
    """Return `work` of each item, in the order of the items, at most `at_once` under way.

    An item is taken when there is room for it.

    Raises:
        Exception: the first that `work` raised; the others were cancelled.
    """
    waiting = _numbered(items)
    taking = asyncio.Lock()
    results: dict[int, Result] = {}

    async def serve() -> None:
        while True:
            async with taking:
                taken = await anext(waiting, None)
            if taken is None:
                return
            number, item = taken
            results[number] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(serve())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
    finally:
        await waiting.aclose()
    return [results[number] for number in sorted(results)]


async def _numbered(
    items: Iterable[Item] | AsyncIterable[Item],
) -> AsyncGenerator[tuple[int, Item], None]:
    number = 0
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield number, item
            number += 1
    else:
        for item in items:
            yield number, item
            number += 1
