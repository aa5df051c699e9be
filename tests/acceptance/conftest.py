"""What the acceptance tests share: the flow as a program, one run of it, and pages to look at."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from deployments.local.stack import Stack
from deployments.local.storage.samples import DEMO_QUERY
from tasks.core.settings import Settings
from tests.acceptance.browser import TALL_SCREEN, Screen, new_page, running_chromium
from tests.acceptance.gallery_page import said_address, watched
from tests.acceptance.programs import Finished, Program
from tests.acceptance.shown import ShownRuns, make_shown_runs
from tests.support.buckets import storage_client
from tests.support.databases import fresh_database, settings_for
from tests.support.sync import sync

SECONDS_TO_RECORD = 60.0


def flow_program(stack: Stack, database_url: str, data_directory: Path) -> Program:
    """Return `python -m flows.embed_images` with a database and a data directory of its own."""
    return Program(
        "flows.embed_images",
        {
            **stack.addresses.environment(),
            "BIRDWALK_DATABASE_URL": database_url,
            "BIRDWALK_DATA_DIRECTORY": str(data_directory),
        },
    )


@dataclass(frozen=True, slots=True)
class SamplesRun:
    """A run of the flow on the samples, and where to look at what it made."""

    program: Program
    database_url: str
    finished: Finished


@pytest.fixture
def embed_images(worker_stack: Stack, settings: Settings) -> Program:
    """The flow as a program, with a database and a data directory of this test's own."""
    return flow_program(
        worker_stack, settings.database_url.get_secret_value(), settings.data_directory
    )


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
async def prefect_client(prefect_stack: Stack) -> AsyncIterator[PrefectClient]:
    """Prefect's own client for the stack's server."""
    address = prefect_stack.addresses.prefect_api_url
    assert address is not None
    async with PrefectClient(address) as client:
        yield client


@pytest.fixture(scope="session")
async def samples_run(
    worker_stack: Stack,
    prefect_client: PrefectClient,
    database_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[SamplesRun]:
    """The flow's first run on all samples; many tests look at it from different sides."""
    async with fresh_database(database_server) as url:
        program = flow_program(worker_stack, url, tmp_path_factory.mktemp("data"))
        finished = await program.run(
            *("--bucket", "birdwalk", "--query", DEMO_QUERY, "--batch-size", "60"),
            *("--requests-per-minute", "60000"),
        )
        await _until_recorded(prefect_client, finished)
        yield SamplesRun(program, url, finished)


async def _until_recorded(client: PrefectClient, finished: Finished) -> None:
    """Wait until the server shows every task run that the log says has completed."""
    logged = len(re.findall("Task run .* - Finished in state Completed", finished.err))
    ours = FlowRunFilter(id=FlowRunFilterId(any_=[finished.flow_run_id]))
    async with asyncio.timeout(SECONDS_TO_RECORD):
        while True:
            runs = await client.read_task_runs(flow_run_filter=ours)
            if sum(run.state is not None and run.state.is_completed() for run in runs) == logged:
                return
            await asyncio.sleep(0.2)


@pytest.fixture(scope="session")
async def pages(chromium: Browser) -> Mapping[str, Page]:
    """A page for each of Prefect's interfaces."""
    context = await chromium.new_context(viewport=TALL_SCREEN)
    return {interface: await context.new_page() for interface in ("v2", "v1")}


@pytest.fixture(params=["v2", "v1"])
def screen(
    request: pytest.FixtureRequest, pages: Mapping[str, Page], worker_stack: Stack
) -> Screen:
    """Each of Prefect's interfaces."""
    assert worker_stack.addresses.prefect_ui_url is not None
    return Screen(request.param, worker_stack.addresses.prefect_ui_url, pages[request.param])


@pytest.fixture(scope="session")
async def shown(
    worker_stack: Stack,
    prefect_client: PrefectClient,
    database_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ShownRuns]:
    """A run of each flow, and runs that failed, on planes, birds and a few broken pictures."""
    storage = storage_client(worker_stack.addresses.storage_endpoint)
    async with fresh_database(database_server) as url:
        program = flow_program(worker_stack, url, tmp_path_factory.mktemp("shown"))
        recording = replace(program, name="tests.acceptance.recording")
        yield await make_shown_runs(recording, prefect_client, storage)
    storage.close()


@pytest.fixture(scope="session")
async def gallery_address(
    stack: Stack, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """Where `python -m deployments.gallery` shows all samples, and another index."""
    async with fresh_database(database_server) as url:
        settings = settings_for(stack, url, tmp_path_factory.mktemp("data"))
        await sync(settings, "birdwalk")
        await sync(settings, "birdwalk", index="some_birds", prefix="birds/")
        environment = {**stack.addresses.environment(), "BIRDWALK_DATABASE_URL": url}
        gallery = await Program("deployments.gallery", environment).start("--port", "0")
        try:
            yield await said_address(gallery)
        finally:
            gallery.terminate()
            await gallery.wait()


@pytest.fixture
async def gallery_page(chromium: Browser, gallery_address: str) -> AsyncIterator[Page]:
    """A page of the gallery, which asks nothing but the gallery for anything."""
    page = await new_page(chromium)
    async with watched(page, gallery_address):
        await page.goto(gallery_address)
        yield page
        await page.close()
