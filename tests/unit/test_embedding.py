import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest

from tasks.core import embedding, patience
from tasks.core.csvfile import PartWriter, read_part
from tasks.core.embedding import BatchEmbedder
from tasks.core.errors import (
    ArtifactError,
    DatabaseUnavailable,
    ImageGone,
    ImageReadDeadline,
    ImageRefused,
    QuotaExceeded,
    StorageError,
    SystemicFailure,
    TransientFailure,
    UnexplainedFailure,
)
from tasks.core.options import SyncOptions
from tasks.core.patience import Patience
from tasks.core.quota import Limiter
from tasks.core.run import Clients, Run, RunIdentity
from tasks.core.settings import Settings
from tasks.core.statements import sql
from tasks.core.types import ImageRef, Space, Vector

SPACE = Space(1, "photos", "multimodalembedding@001", 2, "none", "space_1", "loading")
VECTOR: Vector = np.array([0.6, 0.8], dtype=np.float32)


class Model:
    """Answers each image by its script: errors in turn, then a vector."""

    def __init__(self, script: dict[str, list[Exception]]) -> None:
        self.script = {name: iter(errors) for name, errors in script.items()}
        self.asked: list[str] = []
        self.sent: list[bytes] = []

    async def embed_uri(self, uri: str) -> Vector:
        name = uri.rpartition("/")[2]
        self.asked.append(name)
        return self._answer(name)

    async def embed_bytes(self, data: bytes) -> Vector:
        self.sent.append(data)
        return VECTOR

    def _answer(self, name: str) -> Vector:
        error = next(self.script.get(name, cast("Iterator[Exception]", iter(()))), None)
        if error is not None:
            raise error
        return VECTOR


class Ledger:
    """Remembers the statements it is given, as a database would."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, tuple[Any, ...]]] = []

    async def execute(self, statement: str, *values: Any) -> None:
        self.statements.append((statement, values))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Ledger"]:
        yield self

    transaction = connection


class Storage:
    """A bucket of the names and generations that it is given."""

    def __init__(self, **generations: int) -> None:
        self.generations = generations

    def bucket(self, _: str) -> "Storage":
        return self

    def get_blob(self, name: str) -> Any:
        generation = self.generations.get(name)
        return None if generation is None else SimpleNamespace(generation=generation)


Start = Callable[..., tuple[BatchEmbedder, Model, Ledger]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what opens a batch whose model follows a script; backoffs take no time."""
    monkeypatch.setattr(patience, "FIRST_BACKOFF_SECONDS", 0.0)
    writers: list[PartWriter] = []

    def open_batch(
        script: dict[str, list[Exception]], budget: float = 60.0, **generations: int
    ) -> tuple[BatchEmbedder, Model, Ledger]:
        model, ledger = Model(script), Ledger()
        run = Run(
            identity=RunIdentity(1, UUID(int=1)),
            options=SyncOptions(bucket="b", index="photos"),
            settings=Settings(image_time_budget_seconds=budget, data_directory=tmp_path),
            database=cast("Any", ledger),
            hold=cast("Any", None),
            clients=Clients(cast("Any", model), Storage(**generations)),
            limiter=Limiter(10_000_000),
        )
        writers.append(PartWriter(run.part(1), 2))
        return BatchEmbedder(run, SPACE, writers[-1]), model, ledger

    yield open_batch
    for writer in writers:
        writer.__exit__(None, None, None)


def images(*names: str) -> list[ImageRef]:
    return [ImageRef("b", name, 17) for name in names]


def kept(batch: BatchEmbedder) -> set[str]:
    return set(read_part(batch.run.part(1), 2))


async def test_each_image_is_asked_for_once_and_kept(start: Start) -> None:
    batch, model, _ = start({})
    await batch.embed_all(images(*"abcde"))
    assert sorted(model.asked) == list("abcde")
    assert kept(batch) == set("abcde")
    assert (batch.tally.calls, batch.tally.answers) == (5, 5)
    assert (batch.run.progress.done, batch.run.progress.answers) == (5, 5)


async def test_a_transient_failure_is_asked_again(start: Start) -> None:
    batch, model, _ = start({"a": [TransientFailure("503")] * 9})
    await batch.embed_all(images("a", "b"))
    assert model.asked.count("a") == 10
    assert kept(batch) == {"a", "b"}
    assert (batch.tally.retries, batch.tally.pending, batch.tally.answers) == (9, 0, 2)


async def test_an_image_that_always_fails_is_left_for_the_next_run(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_BACKOFF_SECONDS", 0.001)
    batch, _, ledger = start({"a": [TransientFailure("503")] * 1000}, budget=0.05)
    async with asyncio.timeout(10):
        await batch.embed_all(images("a", "b"))
    assert kept(batch) == {"b"}
    assert batch.tally.pending == 1
    assert batch.tally.retries > 0
    assert ledger.statements == [(sql("update_error"), (1, 1, "a", "503"))]


async def test_a_429_defers_and_is_no_failed_attempt(start: Start) -> None:
    batch, model, _ = start({"a": [QuotaExceeded("429")] * 30})
    rate = batch.run.limiter.rate
    await batch.embed_all(images("a"))
    assert kept(batch) == {"a"}
    assert len(model.asked) == 31
    assert (batch.tally.deferrals, batch.tally.retries) == (30, 0)
    assert batch.run.progress.deferrals == 30
    assert batch.run.limiter.rate < rate


async def test_the_wait_that_a_429_asks_for_is_kept(start: Start) -> None:
    batch, _, _ = start({"a": [QuotaExceeded("429", retry_after=0.2)]})
    begin = asyncio.get_running_loop().time()
    await batch.embed_all(images("a"))
    assert asyncio.get_running_loop().time() - begin >= 0.2


async def test_waiting_for_the_quota_costs_no_patience(start: Start) -> None:
    script = {"a": [QuotaExceeded("429", retry_after=0.2), TransientFailure("503")]}
    batch, _, _ = start(script, budget=0.1)
    await batch.embed_all(images("a"))
    assert kept(batch) == {"a"}


async def test_an_address_not_read_in_time_twice_is_sent_as_bytes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def download(_: Any, bucket: str, name: str) -> bytes:
        return f"{bucket}/{name}".encode()

    monkeypatch.setattr(embedding, "download", download)
    batch, model, _ = start(
        {
            "a": [ImageReadDeadline("Deadline")] * 9,
            "b": [ImageReadDeadline("Deadline"), TransientFailure("503")],
        }
    )
    await batch.embed_all(images("a", "b"))
    assert model.sent == [b"b/a"]
    assert sorted(model.asked) == ["a", "a", "b", "b", "b"]
    assert kept(batch) == {"a", "b"}


async def test_a_refusal_is_recorded_with_its_reason_and_not_repeated(start: Start) -> None:
    batch, model, ledger = start({"a": [ImageRefused("cannot decode")]})
    await batch.embed_all(images("a", "b"))
    assert model.asked.count("a") == 1
    assert kept(batch) == {"b"}
    assert batch.tally.refused == 1
    assert ledger.statements == [(sql("insert_refusal"), (1, "b", "a", 17, "cannot decode"))]


async def test_a_vanished_image_leaves_the_listing(start: Start) -> None:
    batch, _, ledger = start({"a": [ImageGone("gone")]})
    await batch.embed_all(images("a", "b"))
    assert kept(batch) == {"b"}
    assert batch.tally.gone == 1
    assert ledger.statements == [(sql("delete_gone_object"), (1, "a"))]


@pytest.mark.parametrize("generation", [17, 18])
async def test_an_image_that_is_there_or_has_a_new_version_is_left_and_not_gone(
    start: Start, generation: int
) -> None:
    batch, _, ledger = start({"a": [ImageGone("gone")]}, a=generation)
    await batch.embed_all(images("a", "b"))
    assert kept(batch) == {"b"}
    assert (batch.tally.gone, batch.tally.pending) == (0, 1)
    assert sql("delete_gone_object") not in [statement for statement, _ in ledger.statements]


async def test_a_systemic_failure_stops_the_batch_and_keeps_what_is_finished(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "WORKERS", 1)
    batch, model, _ = start({"c": [SystemicFailure("no permission")]})
    with pytest.raises(SystemicFailure, match="no permission"):
        await batch.embed_all(images(*"abcdef"))
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
            await batch.embed_all(images(*"abcd"))


async def test_answers_to_calls_in_flight_are_kept_when_another_image_stops_the_batch(
    start: Start,
) -> None:
    batch, model, ledger = start({"a": [ImageRefused("cannot decode")]})
    await fail_beside_calls(batch, model, ledger)
    assert kept(batch) == set("bcd")
    assert (batch.tally.answers, batch.run.progress.answers) == (3, 3)
    assert {image.name for image in batch.unconfirmed} == set("bcd")


async def test_calls_that_have_no_answer_soon_do_not_keep_a_stopped_batch(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "SECONDS_TO_END_CALLS", 0.0)
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
    await batch.embed_all(images(*"abcd"))
    assert sorted(model.asked) == list("abcd")
    assert kept(batch) == {"d"}
    assert batch.tally.pending == 3


async def test_ten_unexplained_answers_in_a_row_stop_the_run(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "WORKERS", 1)
    names = [f"{number:02d}" for number in range(30)]
    # A vector after the fifth begins the count again.
    script = {name: [UnexplainedFailure("what?")] for name in names if name != "05"}
    batch, model, _ = start(script)
    with pytest.raises(SystemicFailure, match=r"10 answers in a row.*what\?"):
        await batch.embed_all(images(*names))
    assert model.asked == names[:16]


async def give_up(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    failing: Iterable[int],
    total: int,
    answer_at: int,
) -> BatchEmbedder:
    """Embed 30 images one by one, of which some get no answer; return their batch."""
    monkeypatch.setattr(patience, "FIRST_BACKOFF_SECONDS", 1.0)
    monkeypatch.setattr(embedding, "WORKERS", 1)
    script: dict[str, list[Exception]] = {f"{n:02d}": [TransientFailure("503")] for n in failing}
    script[f"{answer_at:02d}"] = [ImageRefused("cannot decode")]
    batch, _, _ = start(script, budget=1e-9)
    batch.run.progress.total = total
    await batch.embed_all(images(*(f"{number:02d}" for number in range(30))))
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
    assert (batch.tally.pending, batch.tally.refused, batch.tally.answers) == (10, 1, 19)


async def test_nine_images_given_up_between_answers_stop_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A refusal at 05 and a vector at 15 are answers.
    failing = [number for number in range(25) if number not in {5, 15}]
    batch = await give_up(start, monkeypatch, failing, total=100, answer_at=5)
    assert (batch.tally.pending, batch.tally.refused, batch.tally.answers) == (23, 1, 6)


async def test_a_part_that_cannot_be_written_stops_the_batch(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ArtifactError("Cannot write: No space left on device")

    batch, _, _ = start({})
    monkeypatch.setattr(batch.writer, "append", refuse)
    with pytest.raises(ArtifactError, match="No space left"):
        await batch.embed_all(images("a"))


async def test_nothing_but_429s_for_the_whole_budget_is_systemic(start: Start) -> None:
    batch, _, _ = start({"a": [QuotaExceeded("429")] * 100_000}, budget=0.05)
    with pytest.raises(SystemicFailure, match="over the quota"):
        async with asyncio.timeout(30):
            await batch.embed_all(images("a"))


async def test_one_429_after_a_long_listing_is_only_deferred(start: Start) -> None:
    batch, _, _ = start({"a": [QuotaExceeded("429")]}, budget=0.05)
    await asyncio.sleep(0.06)
    await batch.embed_all(images("a"))
    assert kept(batch) == {"a"}


async def test_an_image_that_cannot_be_downloaded_stops_no_other(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def download(*_: Any) -> bytes:
        raise StorageError("Cloud Storage failed")

    monkeypatch.setattr(embedding, "download", download)
    batch, _, _ = start({"a": [ImageReadDeadline("Deadline")] * 2}, budget=0.05)
    await batch.embed_all(images("a", "b"))
    assert kept(batch) == {"b"}
    assert batch.tally.pending == 1


def test_backoffs_grow_to_a_bound_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    patient = Patience(0.0)
    assert [patient.backoff() for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    monkeypatch.undo()
    delays = [Patience(0.0, attempts=10).backoff() for _ in range(200)]
    assert 0 <= min(delays) < 10
    assert 20 < max(delays) <= 30
