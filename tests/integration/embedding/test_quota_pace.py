"""The pace against servers that hold a quota: all of it used, hardly ever exceeded, and obeyed."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from deployments.local.vertex.instant import instant_response
from deployments.local.vertex.wire import SERVICE, decode_request, parse_request
from tasks.core.concurrency import BATCHES_IN_FLIGHT, for_each
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.types import BatchReport
from tests.bench.listing_stub import served_listing
from tests.support.databases import fresh_database, secret
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare

LATENCY_SECONDS = 0.15
TRIES = 3


async def embed(settings: Settings, images: int, pace: int) -> list[BatchReport]:
    """Embed a bucket of so many images in batches, as the flow does."""
    with served_listing(images) as endpoint:
        there = settings.model_copy(update={"storage_endpoint": endpoint})
        asked = options("birdwalk", requests_per_minute=pace, batch_size=max(10, images // 8))
        async with open_run(asked, there, "test") as run:
            return await _embed_all(run)


async def _embed_all(run: Run) -> list[BatchReport]:
    made = await prepare(run)
    numbers = [batch.number for batch in made.batches]
    return await for_each(numbers, lambda number: embed_batch(run, number), BATCHES_IN_FLIGHT)


@pytest.mark.parametrize(("pace", "images"), [(600, 100), (6000, 800)])
async def test_a_quota_is_used_to_the_full_and_hardly_ever_exceeded(
    settings: Settings, database_server: str, model_server: ModelServer, pace: int, images: int
) -> None:
    tried = []
    # A stall of the machine costs a try, where a limiter that is too slow or too fast costs all.
    for _ in range(TRIES):
        await model_server.reset()
        await model_server.configure(
            requests_per_minute=pace, latency_seconds=LATENCY_SECONDS, instant=True
        )
        async with fresh_database(database_server) as url:
            fresh = settings.model_copy(update={"database_url": secret(url)})
            reports = await embed(fresh, images, pace)
        statistics = await model_server.statistics()
        assert sum(report.embedded for report in reports) == statistics.accepted == images
        assert statistics.first_accepted_at is not None
        assert statistics.last_accepted_at is not None
        seconds = statistics.last_accepted_at - statistics.first_accepted_at
        used = (images - 1) / seconds * 60 / pace
        deferred = sum(report.deferrals for report in reports) / statistics.calls
        tried.append((used, deferred))
        if used >= 0.95 and deferred <= 0.01:
            return
    pytest.fail(f"the quota's use, and the share of calls over it, in each try: {tried}")


async def test_half_of_a_quota_is_found_within_seconds_and_used(
    settings: Settings, database_server: str, model_server: ModelServer
) -> None:
    tried = []
    for _ in range(TRIES):
        async with fresh_database(database_server) as url:
            fresh = settings.model_copy(update={"database_url": secret(url)})
            tried.append(await share_of_a_half_used(fresh, model_server))
        if tried[-1] >= 0.9:
            return
    pytest.fail(f"the share of half the quota that was used, in each try: {tried}")


async def share_of_a_half_used(settings: Settings, model_server: ModelServer) -> float:
    """Halve the quota of a run under way; return how much of the half it uses a little later."""
    pace, half = 2400, 1200
    served = 0.0

    async def halve() -> None:
        nonlocal served
        await asyncio.sleep(4)
        await model_server.configure(
            requests_per_minute=half, latency_seconds=LATENCY_SECONDS, instant=True
        )
        await asyncio.sleep(8)
        before, start = (await model_server.statistics()).accepted, time.monotonic()
        await asyncio.sleep(8)
        after = (await model_server.statistics()).accepted
        served = (after - before) / (time.monotonic() - start) * 60

    await model_server.configure(
        requests_per_minute=pace, latency_seconds=LATENCY_SECONDS, instant=True
    )
    halving = asyncio.create_task(halve())
    reports = await embed(settings, 560, pace)
    await halving
    # A 429 is a deferral: nothing failed, nothing was left, nothing used up its attempts.
    assert sum(report.deferrals for report in reports) > 0
    assert sum(report.embedded for report in reports) == 560
    assert sum(report.retries + report.pending + report.refused for report in reports) == 0
    return served / half


@dataclass(slots=True)
class SternServer:
    """Answers one call in the middle with 429 and says how long to wait, as Google may."""

    wait_seconds: float
    refused_call: int
    address: str = ""
    calls: list[float] = field(default_factory=list)

    async def predict(self, data: bytes, context: Any) -> bytes:
        """Answer with a vector, or say how long to wait."""
        self.calls.append(time.monotonic())
        if len(self.calls) == self.refused_call:
            wait = Duration()
            wait.FromMilliseconds(round(self.wait_seconds * 1000))
            detail = AnyMessage()
            detail.Pack(RetryInfo(retry_delay=wait))
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            status = Status(code=code.value[0], message="Quota exceeded.", details=[detail])
            metadata = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(code, "Quota exceeded.", metadata)
        return instant_response(parse_request(decode_request(data)))


@pytest.fixture
async def stern_server() -> AsyncIterator[SternServer]:
    """A model server of its own: the stack's does not say how long to wait."""
    stern = SternServer(wait_seconds=2.0, refused_call=20)
    server = grpc.aio.server()
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(stern.predict)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    stern.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield stern
    await server.stop(None)


async def test_nobody_calls_for_as_long_as_the_server_says(
    settings: Settings, stern_server: SternServer
) -> None:
    there = settings.model_copy(update={"vertex_endpoint": stern_server.address})
    reports = await embed(there, 40, 600)
    assert sum(report.embedded for report in reports) == 40
    assert sum(report.deferrals for report in reports) == 1
    refused = stern_server.calls[stern_server.refused_call - 1]
    # What was sent before the answer came back is on its way; the others wait.
    later = [call - refused for call in stern_server.calls[stern_server.refused_call :]]
    assert [call for call in later if 0.5 < call < 1.9] == []
    assert len([call for call in later if call >= 1.9]) >= 15
