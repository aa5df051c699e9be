"""What is opened on demand is opened once, and a failure is told again without another try."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable

import pytest

from tasks.core.errors import BirdwalkError
from tasks.core.searching.searcher import Lazy

LONG = 3600.0


def scripted(*outcomes: str | Exception) -> tuple[Callable[[], Awaitable[str]], list[object]]:
    """Return what opens with these outcomes in turn, and those that were asked for."""
    tried: list[object] = []

    async def open_() -> str:
        outcome = outcomes[len(tried)]
        tried.append(outcome)
        await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return open_, tried


async def test_it_is_opened_once_however_many_ask_at_once() -> None:
    open_, tried = scripted("one", "two")
    lazy = Lazy(open_, LONG)
    assert tried == []
    assert await asyncio.gather(*(lazy.get() for _ in range(5))) == ["one"] * 5
    assert tried == ["one"]


async def test_a_failure_is_told_to_all_who_ask_within_its_time_without_another_try() -> None:
    open_, tried = scripted(BirdwalkError("away"), "two")
    lazy = Lazy(open_, LONG)
    told = await asyncio.gather(*(lazy.get() for _ in range(100)), return_exceptions=True)
    assert {str(error) for error in told} == {"away"}
    assert len(tried) == 1
    with pytest.raises(BirdwalkError) as caught:
        await lazy.get()
    # A traceback that grows with everybody who is told would keep all their frames.
    assert len(traceback.extract_tb(caught.value.__traceback__)) < 10


async def test_after_that_time_it_is_tried_again() -> None:
    open_, tried = scripted(BirdwalkError("away"), "two")
    lazy = Lazy(open_, 0.0)
    with pytest.raises(BirdwalkError, match="away"):
        await lazy.get()
    assert await lazy.get() == "two"
    assert len(tried) == 2


async def test_an_error_that_is_no_answer_is_not_kept() -> None:
    open_, _ = scripted(LookupError("a bug"), "two")
    lazy = Lazy(open_, LONG)
    with pytest.raises(LookupError):
        await lazy.get()
    assert await lazy.get() == "two"
