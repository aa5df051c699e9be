import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from tasks.core.embedding import embed_batch, embed_image
from tasks.core.embedding.embed_batch import BatchEmbedder
from tasks.core.errors import (
    ArtifactError,
    DatabaseUnavailable,
    ImageRefused,
    QuotaExceeded,
    SystemicFailure,
    TransientFailure,
    UnexplainedFailure,
)
from tasks.core.types import Listing, Vector
from tests.support.scripted import Ledger, Model, Start, items, kept


async def test_a_systemic_failure_stops_the_batch_and_keeps_what_is_finished(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_batch, "WORKERS", 1)
    batch, model, _ = start({"c": [SystemicFailure("no permission")]})
    with pytest.raises(SystemicFailure, match="no permission"):
        await batch.embed_all(items(*"abcdef"))
    assert model.asked == ["a", "b", "c"]
    assert kept(batch) == {"a", "b"}


async def fail_beside_calls(batch: BatchEmbedder, model: Model, ledger: Ledger) -> None:
    """Lose the database while three calls are in flight; they are answered a little later."""
    lost = asyncio.Event()

    async def answer_late(uri: str) -> Vector:
        if uri != "gs://b/a":
            await lost.wait()
            await asyncio.sleep(0.01)
        return await Model.embed_uri(model, uri)

    async def lose(*_: Any) -> None:
        lost.set()
        raise DatabaseUnavailable("Postgres cannot be reached")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(model, "embed_uri", answer_late)
        patched.setattr(ledger, "execute", lose)
        with pytest.raises(DatabaseUnavailable):
            await batch.embed_all(items(*"abcd"))


async def test_answers_to_calls_in_flight_are_kept_when_another_image_stops_the_batch(
    start: Start,
) -> None:
    batch, model, ledger = start({"a": [ImageRefused("cannot decode")]})
    await fail_beside_calls(batch, model, ledger)
    assert kept(batch) == set("bcd")
    assert (batch.counts.answers, batch.run.progress.answers) == (3, 3)
    assert {image.image_id for image in batch.unconfirmed} == set("bcd")


async def test_calls_that_have_no_answer_soon_do_not_keep_a_stopped_batch(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_image, "SECONDS_TO_END_CALLS", 0.0)
    batch, model, ledger = start(
        {"a": [ImageRefused("cannot decode")], "b": [TransientFailure("503")]}
    )
    await fail_beside_calls(batch, model, ledger)
    assert kept(batch) == set()


async def test_a_call_that_fails_in_a_stopped_batch_is_not_what_the_batch_failed_of(
    start: Start,
) -> None:
    batch, model, ledger = start(
        {"a": [ImageRefused("cannot decode")], "b": [SystemicFailure("no permission")]}
    )
    await fail_beside_calls(batch, model, ledger)
    assert kept(batch) == set("cd")


async def test_a_few_unexplained_answers_leave_their_images_for_the_next_run(start: Start) -> None:
    script = {name: [UnexplainedFailure("what?")] for name in "abc"}
    batch, model, _ = start(script)
    await batch.embed_all(items(*"abcd"))
    assert sorted(model.asked) == list("abcd")
    assert kept(batch) == {"d"}
    assert batch.counts.leftover == 3


async def test_ten_unexplained_answers_in_a_row_stop_the_run(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_batch, "WORKERS", 1)
    names = [f"{number:02d}" for number in range(30)]
    # A vector after the fifth begins the count again.
    script = {name: [UnexplainedFailure("what?")] for name in names if name != "05"}
    batch, model, _ = start(script)
    with pytest.raises(SystemicFailure, match=r"10 answers in a row.*what\?"):
        await batch.embed_all(items(*names))
    assert model.asked == names[:16]


async def answer_nothing(start: Start, listed: int) -> tuple[BatchEmbedder, Model]:
    """Embed the 30 images that a bucket's run has to ask for: none is given an explained answer."""
    names = [f"{number:02d}" for number in range(30)]
    batch, model, _ = start({name: [UnexplainedFailure("what?")] for name in names})
    batch.run.listing = Listing(listed, listed)
    batch.run.progress.total = 30
    batch.run.counts[1] = batch.counts
    await batch.embed_all(items(*names))
    return batch, model


async def test_unexplained_answers_to_as_few_as_may_be_left_stop_nothing(start: Start) -> None:
    # As in the run after the one that left them.
    batch, _ = await answer_nothing(start, listed=3_000)
    assert batch.counts.leftover == 30


async def test_unexplained_answers_to_more_than_may_be_left_stop_the_run(start: Start) -> None:
    with pytest.raises(SystemicFailure, match="10 answers in a row"):
        await answer_nothing(start, listed=2_900)


async def test_refusals_begin_the_count_of_unexplained_answers_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_batch, "WORKERS", 1)
    names = [f"{number:02d}" for number in range(30)]
    script: dict[str, list[Exception]] = {name: [UnexplainedFailure("what?")] for name in names}
    script |= {name: [ImageRefused("cannot decode")] for name in names[5::9]}
    batch, _, _ = start(script)
    await batch.embed_all(items(*names))
    assert (batch.counts.leftover, batch.counts.refused) == (27, 3)


async def give_up(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    failing: Iterable[int],
    total: int,
    answer_at: int,
) -> BatchEmbedder:
    """Embed 30 images one by one, of which some get no answer; return their batch."""
    monkeypatch.setattr(embed_image, "FIRST_BACKOFF_SECONDS", 1.0)
    monkeypatch.setattr(embed_batch, "WORKERS", 1)
    script: dict[str, list[Exception]] = {f"{n:02d}": [TransientFailure("503")] for n in failing}
    script[f"{answer_at:02d}"] = [ImageRefused("cannot decode")]
    batch, _, _ = start(script, budget=1e-9)
    batch.run.progress.total = total
    await batch.embed_all(items(*(f"{number:02d}" for number in range(30))))
    return batch


async def test_ten_images_given_up_in_a_row_stop_a_run_that_has_more(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = r"answered nothing.*10 images in a row were given up, the last with: 503.*kept"
    with pytest.raises(SystemicFailure, match=said):
        # The refusal of 05 shows that the model is there.
        await give_up(start, monkeypatch, range(30), total=30, answer_at=5)


async def test_images_given_up_at_the_end_of_a_run_are_left_and_stop_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await give_up(start, monkeypatch, range(20, 30), total=30, answer_at=5)
    assert (batch.counts.leftover, batch.counts.refused, batch.counts.answers) == (10, 1, 19)


async def test_nine_images_given_up_between_answers_stop_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A refusal at 05 and a vector at 15 are answers.
    failing = [number for number in range(25) if number not in {5, 15}]
    batch = await give_up(start, monkeypatch, failing, total=100, answer_at=5)
    assert (batch.counts.leftover, batch.counts.refused, batch.counts.answers) == (23, 1, 6)


async def test_a_part_that_cannot_be_written_stops_the_batch(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ArtifactError("Cannot write: No space left on device")

    batch, _, _ = start({})
    monkeypatch.setattr(batch.writer, "append", refuse)
    with pytest.raises(ArtifactError, match="No space left"):
        await batch.embed_all(items("a"))


async def test_nothing_but_429s_for_the_whole_budget_is_systemic(start: Start) -> None:
    batch, _, _ = start({"a": [QuotaExceeded("429")] * 100_000}, budget=0.05)
    with pytest.raises(SystemicFailure, match="over the quota"):
        async with asyncio.timeout(30):
            await batch.embed_all(items("a"))


async def test_a_refusal_shows_that_not_every_answer_is_a_429(start: Start) -> None:
    batch, _, _ = start({"a": [QuotaExceeded("429"), ImageRefused("cannot decode")]})
    await batch.embed_all(items("a"))
    assert batch.counts.refused == 1
    assert batch.run.limiter.seconds_refused == 0


async def test_one_429_after_a_long_listing_is_only_deferred(start: Start) -> None:
    batch, _, _ = start({"a": [QuotaExceeded("429")]}, budget=0.05)
    await asyncio.sleep(0.06)
    await batch.embed_all(items("a"))
    assert kept(batch) == {"a"}
