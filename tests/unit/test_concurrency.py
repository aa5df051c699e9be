import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tasks.core.concurrency import for_each
from tasks.core.errors import BirdwalkError, SystemicFailure


async def test_results_stand_in_the_order_of_the_items() -> None:
    async def later_for_the_first(item: int) -> int:
        for _ in range(10 - item):
            await asyncio.sleep(0)
        return item * item

    assert await for_each(range(10), later_for_the_first, 4) == [n * n for n in range(10)]


@pytest.mark.parametrize("at_once", [1, 3, 100])
async def test_no_more_than_at_once_are_under_way(at_once: int) -> None:
    under_way, most = 0, 0

    async def work(_: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await for_each(range(20), work, at_once)
    assert most == min(at_once, 20)


async def test_no_items_are_no_work() -> None:
    assert await for_each([], asyncio.sleep, 3) == []


async def test_items_are_drawn_as_they_are_needed() -> None:
    drawn, finished, ahead = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal drawn, ahead
        for number in range(50):
            drawn += 1
            ahead = max(ahead, drawn - finished)
            yield number

    async def work(_: int) -> None:
        nonlocal finished
        await asyncio.sleep(0)
        finished += 1

    await for_each(items(), work, 4)
    assert finished == 50
    assert ahead <= 5


async def test_the_first_error_wins_and_stops_the_others() -> None:
    started: list[int] = []
    cancelled: list[int] = []

    async def work(item: int) -> None:
        started.append(item)
        try:
            if item == 2:
                await asyncio.sleep(0)
                raise SystemicFailure("no permission") from PermissionError("403")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise BirdwalkError("of the cancellation, not of the work") from None

    with pytest.raises(SystemicFailure, match="no permission") as caught:
        await for_each(range(100), work, 4)
    assert isinstance(caught.value.__cause__, PermissionError)
    assert started == [0, 1, 2, 3]
    assert sorted(cancelled) == [0, 1, 3]


async def test_cancelling_the_whole_cancels_each() -> None:
    cancelled: list[int] = []

    async def work(item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(item)

    whole = asyncio.create_task(for_each(range(10), work, 3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert sorted(cancelled) == [0, 1, 2]


async def test_items_that_are_claimed_are_claimed_one_at_a_time_by_whoever_has_room() -> None:
    claiming, closed = 0, False

    async def claims() -> AsyncIterator[int]:
        nonlocal claiming, closed
        try:
            for number in range(9):
                claiming += 1
                await asyncio.sleep(0)
                assert claiming == 1
                claiming -= 1
                yield number
        finally:
            closed = True

    async def work(item: int) -> int:
        await asyncio.sleep(0)
        return item

    assert await for_each(claims(), work, 3) == list(range(9))
    assert closed


async def test_work_goes_on_while_the_next_item_is_waited_for() -> None:
    done = asyncio.Event()

    async def waiting_for_the_first_to_be_done() -> AsyncIterator[int]:
        yield 1
        await done.wait()
        yield 2

    async def work(item: int) -> int:
        done.set()
        return item

    async with asyncio.timeout(30):
        assert await for_each(waiting_for_the_first_to_be_done(), work, 2) == [1, 2]
