import asyncio
from typing import Any

import pytest

from tasks.core.embedding import embed_image
from tasks.core.embedding.embed_image import Patience
from tasks.core.errors import (
    ImageGone,
    ImageReadDeadline,
    ImageRefused,
    QuotaExceeded,
    StorageError,
    TransientFailure,
)
from tests.support.scripted import LISTED, Start, items, kept


async def test_each_image_is_asked_for_once_and_kept(start: Start) -> None:
    batch, model, _ = start({})
    await batch.embed_all(items(*"abcde"))
    assert sorted(model.asked) == list("abcde")
    assert kept(batch) == set("abcde")
    assert (batch.counts.calls, batch.counts.answers) == (5, 5)
    assert (batch.run.progress.done, batch.run.progress.answers) == (5, 5)


async def test_a_transient_failure_is_asked_again(start: Start) -> None:
    batch, model, _ = start({"a": [TransientFailure("503")] * 9})
    await batch.embed_all(items("a", "b"))
    assert model.asked.count("a") == 10
    assert kept(batch) == {"a", "b"}
    assert (batch.counts.retries, batch.counts.leftover, batch.counts.answers) == (9, 0, 2)


async def test_an_image_that_always_fails_is_left_for_the_next_run(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_image, "FIRST_BACKOFF_SECONDS", 0.001)
    batch, _, ledger = start({"a": [TransientFailure("503")] * 1000}, budget=0.05)
    async with asyncio.timeout(10):
        await batch.embed_all(items("a", "b"))
    assert kept(batch) == {"b"}
    assert batch.counts.leftover == 1
    assert batch.counts.retries > 0
    assert ledger.statements == [("update_error", (1, 1, "A", "503"))]


async def test_a_429_defers_and_is_no_failed_attempt(start: Start) -> None:
    batch, model, _ = start({"a": [QuotaExceeded("429")] * 30})
    rate = batch.run.limiter.rate
    await batch.embed_all(items("a"))
    assert kept(batch) == {"a"}
    assert len(model.asked) == 31
    assert (batch.counts.deferrals, batch.counts.retries) == (30, 0)
    assert batch.run.progress.deferrals == 30
    assert batch.run.limiter.rate < rate


async def test_the_wait_that_a_429_asks_for_is_kept(start: Start) -> None:
    batch, _, _ = start({"a": [QuotaExceeded("429", retry_after=0.2)]})
    begin = asyncio.get_running_loop().time()
    await batch.embed_all(items("a"))
    assert asyncio.get_running_loop().time() - begin >= 0.2


async def test_waiting_for_the_quota_costs_no_patience(start: Start) -> None:
    script = {"a": [QuotaExceeded("429", retry_after=0.2), TransientFailure("503")]}
    batch, _, _ = start(script, budget=0.1)
    await batch.embed_all(items("a"))
    assert kept(batch) == {"a"}


async def test_an_address_not_read_in_time_twice_is_sent_as_bytes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def download(_: Any, bucket: str, name: str) -> bytes:
        return f"{bucket}/{name}".encode()

    monkeypatch.setattr(embed_image, "download", download)
    batch, model, _ = start(
        {
            "a": [ImageReadDeadline("Deadline")] * 9,
            "b": [ImageReadDeadline("Deadline"), TransientFailure("503")],
        }
    )
    await batch.embed_all(items("a", "b"))
    assert model.sent == [b"b/a"]
    assert sorted(model.asked) == ["a", "a", "b", "b", "b"]
    assert kept(batch) == {"a", "b"}


async def test_a_refusal_is_recorded_with_its_reason_and_not_repeated(start: Start) -> None:
    batch, model, ledger = start({"a": [ImageRefused("cannot decode")]})
    await batch.embed_all(items("a", "b"))
    assert model.asked.count("a") == 1
    assert kept(batch) == {"b"}
    assert batch.counts.refused == 1
    assert ledger.statements == [("insert_refusal", (1, "A", "cannot decode"))]


async def test_a_vanished_image_leaves_the_listing(start: Start) -> None:
    batch, _, ledger = start({"a": [ImageGone("gone")]}, a=None)
    await batch.embed_all(items("a", "b"))
    assert kept(batch) == {"b"}
    assert batch.counts.gone == 1
    assert ledger.statements == [
        ("ask_by_next_object", (1, 1, "A", "a")),
        ("delete_gone_object", (1, "a")),
        ("update_gone", (1, 1, "A")),
    ]


@pytest.mark.parametrize("answer", [ImageGone("gone"), ImageRefused("cannot decode")])
async def test_an_answer_about_another_version_is_neither_gone_nor_refused(
    start: Start, answer: Exception
) -> None:
    batch, _, ledger = start({"a": [answer]}, a=LISTED + 1)
    await batch.embed_all(items("a", "b"))
    assert kept(batch) == {"b"}
    assert (batch.counts.gone, batch.counts.refused, batch.counts.leftover) == (0, 0, 1)
    assert [statement for statement, _ in ledger.statements] == [
        "ask_by_next_object",
        "update_error",
    ]


async def test_an_image_that_the_model_does_not_find_though_it_is_there_is_asked_for_again(
    start: Start,
) -> None:
    batch, model, _ = start({"a": [ImageGone("gone")] * 3})
    await batch.embed_all(items("a"))
    assert model.asked == ["a"] * 4
    assert kept(batch) == {"a"}
    assert (batch.counts.gone, batch.counts.leftover, batch.counts.retries) == (0, 0, 3)


async def test_an_image_that_cannot_be_downloaded_stops_no_other(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def download(*_: Any) -> bytes:
        raise StorageError("Cloud Storage failed")

    monkeypatch.setattr(embed_image, "download", download)
    batch, _, _ = start({"a": [ImageReadDeadline("Deadline")] * 2}, budget=0.05)
    await batch.embed_all(items("a", "b"))
    assert kept(batch) == {"b"}
    assert batch.counts.leftover == 1


def test_backoffs_grow_to_a_bound_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    patient = Patience(0.0)
    assert [patient.backoff() for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    monkeypatch.undo()
    delays = [Patience(0.0, attempts=10).backoff() for _ in range(200)]
    assert 0 <= min(delays) < 10
    assert 20 < max(delays) <= 30
