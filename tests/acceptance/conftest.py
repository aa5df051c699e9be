"""What the acceptance tests share: the flow as a program, one run of it, and Prefect's client."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient

from deployments.local.samples import DEMO_QUERY
from deployments.local.stack import Stack
from tasks.core.settings import Settings
from tests.acceptance.programs import Finished, Program
from tests.support.databases import fresh_database


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
async def samples_run(
    worker_stack: Stack, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SamplesRun]:
    """The flow's first run on all samples; many tests look at it from different sides."""
    async with fresh_database(database_server) as url:
        program = flow_program(worker_stack, url, tmp_path_factory.mktemp("data"))
        finished = await program.run(
            *("--bucket", "birdwalk", "--query", DEMO_QUERY, "--requests-per-minute", "60000")
        )
        yield SamplesRun(program, url, finished)


@pytest.fixture(scope="session")
async def prefect_client(prefect_stack: Stack) -> AsyncIterator[PrefectClient]:
    """Prefect's own client for the stack's server."""
    address = prefect_stack.addresses.prefect_api_url
    assert address is not None
    async with PrefectClient(address) as client:
        yield client
