import asyncio
import io
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from google.api_core import exceptions
from PIL import Image

from deployments.local.errors import StackError
from deployments.local.processes.program import start
from deployments.local.vertex.options import ModelServerOptions
from tests.integration.local.vertex_client import MODEL, Vertex, image_at, image_of, serve
from tests.support.servers.statistics import (
    ModelServerStatistics,
    configure,
    read_statistics,
    reset_statistics,
)


def encoded(image_format: str) -> bytes:
    file = io.BytesIO()
    draws = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(draws).save(file, image_format)
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "red.png").write_bytes(encoded("PNG"))
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"a page of text")
    (folder / "cut-short.png").write_bytes(encoded("PNG")[:2000])
    (folder / "cut-short.jpg").write_bytes(encoded("JPEG")[:700])
    (folder / "webp.png").write_bytes(encoded("WEBP"))
    (folder / "tiff.png").write_bytes(encoded("TIFF"))
    (folder / "too-large.png").write_bytes(bytes(20 * 1024 * 1024 + 1))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Vertex]:
    async with serve(pictures, tmp_path_factory.mktemp("state"), ModelServerOptions()) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def vertex(server: Vertex) -> Vertex:
    await configure(server.address, ModelServerOptions())
    await reset_statistics(server.address)
    return server


async def until(
    vertex: Vertex, condition: Callable[[ModelServerStatistics], bool]
) -> ModelServerStatistics:
    for _ in range(200):
        if condition(read := await read_statistics(vertex.address)):
            return read
        await asyncio.sleep(0.05)
    raise AssertionError(f"still {read} after ten seconds")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.png", "image is empty"),
        ("text.png", "not in a supported format"),
        ("webp.png", "not in a supported format"),
        ("tiff.png", "not in a supported format"),
        ("cut-short.png", "could not be decoded"),
        ("cut-short.jpg", "could not be decoded"),
        ("too-large.png", "image is too large"),
    ],
)
async def test_a_bad_image_is_an_invalid_argument_by_uri_and_by_bytes(
    vertex: Vertex, pictures: Path, name: str, reason: str
) -> None:
    for instance in (image_at(name), image_of((pictures / name).read_bytes())):
        with pytest.raises(exceptions.InvalidArgument, match=rf"Image embedding failed.*{reason}"):
            await vertex.predict(instance)


@pytest.mark.parametrize("uri", ["gs://birdwalk/gone.png", "gs://elsewhere/red.png"])
async def test_a_missing_object_is_not_found(vertex: Vertex, uri: str) -> None:
    message = f"Image file not found in the storage URL: {uri}"
    with pytest.raises(exceptions.NotFound, match=message):
        await vertex.predict({"image": {"gcsUri": uri}})


@pytest.mark.parametrize(
    ("instances", "dimension"),
    [
        ([image_at("red.png")] * 2, 128),
        ([{}], 128),
        ([{"text": "x" * 1025}], 128),
        ([image_at("red.png")], 100),
    ],
)
async def test_a_bad_request_does_not_speak_of_the_image(
    vertex: Vertex, instances: list[Any], dimension: int
) -> None:
    with pytest.raises(exceptions.InvalidArgument) as refused:
        await vertex.predict(*instances, dimension=dimension)
    assert "image" not in refused.value.message.lower()


async def test_a_retired_model_is_not_found(vertex: Vertex) -> None:
    with pytest.raises(exceptions.NotFound, match=r"Publisher Model .*@003` was not found"):
        await vertex.predict(image_at("red.png"), model=MODEL.replace("@001", "@003"))


async def test_permission_can_be_taken_and_given_back_in_mid_run(vertex: Vertex) -> None:
    await vertex.embed("red.png")
    await configure(vertex.address, ModelServerOptions(denied=True))
    with pytest.raises(exceptions.PermissionDenied, match=r"'aiplatform.endpoints.predict' denied"):
        await vertex.embed("red.png")
    await configure(vertex.address, ModelServerOptions())
    await vertex.embed("red.png")
    read = await read_statistics(vertex.address)
    assert (read.calls, read.accepted) == (3, 2)
    assert read.by_code == {"OK": 2, "PERMISSION_DENIED": 1}


async def test_calls_over_the_quota_are_turned_away(vertex: Vertex) -> None:
    await configure(vertex.address, ModelServerOptions(requests_per_minute=1200, instant=True))
    began = time.monotonic()
    answers: list[str] = []
    messages: list[str] = []
    while time.monotonic() < began + 1.5:
        try:
            await vertex.embed("red.png")
            answers.append("OK")
        except exceptions.ResourceExhausted as error:
            answers.append("RESOURCE_EXHAUSTED")
            messages.append(str(error.message))
    seconds = time.monotonic() - began
    read = await read_statistics(vertex.address)
    assert all("Please submit a quota increase request." in message for message in messages)
    assert read.by_code == {code: answers.count(code) for code in ("OK", "RESOURCE_EXHAUSTED")}
    # How evenly it is refilled is shown in unit/local/test_vertex.py, without a clock.
    assert 20 < read.accepted <= 20 + 20 * seconds + 1
    assert read.first_call_at is not None
    assert read.last_call_at is not None
    assert 0 < read.last_call_at - read.first_call_at <= seconds


async def test_errors_are_drawn_at_their_rate(vertex: Vertex) -> None:
    options = ModelServerOptions(error_rates={"UNAVAILABLE": 0.3}, seed=1, instant=True)
    counts = []
    for _ in range(2):
        await configure(vertex.address, options)
        await reset_statistics(vertex.address)
        calls = (vertex.embed("red.png") for _ in range(100))
        await asyncio.gather(*calls, return_exceptions=True)
        counts.append((await read_statistics(vertex.address)).by_code)
    assert counts[0] == counts[1]
    assert 15 <= (counts[0] or {})["UNAVAILABLE"] <= 45


async def test_a_read_deadline_comes_as_unauthenticated(vertex: Vertex) -> None:
    await configure(vertex.address, ModelServerOptions(error_rates={"UNAUTHENTICATED": 1}))
    with pytest.raises(exceptions.Unauthenticated, match=r"Image .* following error: Deadline"):
        await vertex.embed("red.png")
    await vertex.embed_text("plane")


async def test_latency_is_added_to_each_call_and_calls_wait_side_by_side(vertex: Vertex) -> None:
    await configure(vertex.address, ModelServerOptions(latency_seconds=2.0, instant=True))
    began = time.monotonic()
    await asyncio.gather(*(vertex.embed("red.png") for _ in range(20)))
    assert 2.0 <= time.monotonic() - began < 20
    assert (await read_statistics(vertex.address)).most_in_flight == 20


async def test_the_instant_mode_fetches_nothing(vertex: Vertex) -> None:
    await configure(vertex.address, ModelServerOptions(instant=True))
    one, other = await vertex.embed("gone.png"), await vertex.embed("gone too.png")
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert abs(one @ other) < 0.5


async def test_a_call_the_client_gave_up_is_counted_as_cancelled(vertex: Vertex) -> None:
    await configure(vertex.address, ModelServerOptions(latency_seconds=30, instant=True))
    with pytest.raises(exceptions.DeadlineExceeded):
        await vertex.client.predict(endpoint=MODEL, instances=[image_at("red.png")], timeout=3)
    read = await until(vertex, lambda read: read.calls > 0)
    assert read.by_code == {"CANCELLED": 1}


async def test_a_storage_server_that_is_down_is_no_fault_of_the_image(
    pictures: Path, tmp_path: Path
) -> None:
    async with serve(pictures, tmp_path, ModelServerOptions()) as vertex:
        await vertex.embed("red.png")
        await vertex.storage.kill()
        with pytest.raises(exceptions.ServiceUnavailable) as failed:
            await vertex.embed("red.png")
        assert failed.value.message.startswith("The storage server could not be read")


async def test_a_storage_server_that_was_restarted_is_read_again(
    pictures: Path, tmp_path: Path
) -> None:
    async with serve(pictures, tmp_path, ModelServerOptions()) as vertex:
        before = await vertex.embed("red.png")
        await vertex.storage.kill()
        storage = await start(vertex.storage.program)
        try:
            assert np.array_equal(await vertex.embed("red.png"), before)
        finally:
            await storage.stop()


async def test_calls_that_are_answered_together_get_their_own_answers(vertex: Vertex) -> None:
    expected = {
        "red.png": None,
        "gone.png": "Image file not found",
        "too-large.png": "Image embedding failed with the following error: The image is too large",
        "cut-short.png": "Image embedding failed",
    }
    names = [*expected] * 20
    answers = await asyncio.gather(*map(vertex.embed, names), return_exceptions=True)
    alone = await vertex.embed("red.png")
    for name, answer in zip(names, answers, strict=True):
        if (refusal := expected[name]) is None:
            assert isinstance(answer, np.ndarray)
            assert np.array_equal(answer, alone)
        else:
            assert isinstance(answer, exceptions.GoogleAPICallError)
            assert answer.message.startswith(refusal)


async def test_one_call_that_was_given_up_keeps_no_other_from_its_answer(vertex: Vertex) -> None:
    calls = [asyncio.create_task(vertex.embed("red.png")) for _ in range(60)]
    await asyncio.sleep(0.1)
    for call in calls[::2]:
        call.cancel()
    assert len(await asyncio.gather(*calls[1::2])) == 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_and_its_calls(
    pictures: Path, tmp_path: Path, number: signal.Signals
) -> None:
    options = ModelServerOptions(latency_seconds=60, instant=True)
    async with serve(pictures, tmp_path, options) as vertex:
        call = asyncio.create_task(vertex.embed("red.png"))
        await until(vertex, lambda read: read.first_call_at is not None)
        began = time.monotonic()
        os.kill(vertex.process.identity.pid, number)
        assert await vertex.process.wait() == 0
        assert time.monotonic() - began < 30
        with pytest.raises(exceptions.ServiceUnavailable, match="shutting down"):
            await call
        with pytest.raises(StackError, match="answered Read with UNAVAILABLE"):
            await read_statistics(vertex.address)
        assert "Traceback" not in vertex.process.program.log.read_text()


async def test_a_taken_port_is_named(vertex: Vertex, tmp_path: Path) -> None:
    first = vertex.process.program
    command = (*first.command, "--options", ModelServerOptions(instant=True).to_json())
    second = replace(first, command=command, log=tmp_path / "second.log", ready=_never)
    with pytest.raises(StackError, match="is the port taken"):
        await start(second)


async def _never() -> bool:
    return False
