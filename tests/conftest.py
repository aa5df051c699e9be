"""One local stack for all tests that need real servers, and what each test gets of its own."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from deployments.local.stack import Stack, StackOptions, running
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, storage_client
from tests.support.databases import fresh_database, make_template, settings_for
from tests.support.model_server import ModelServer
from tests.support.servers.vertex import SERVER


class Halves(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Gives each of two processes (`make test`) its half of the tests, with servers of its own.

    The acceptance tests take about as long as all others, and wait for most of it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _half_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Halves:
    """Let the tests be shared among processes by halves."""
    return Halves(config, log)


def _half_of(nodeid: str) -> str:
    return "acceptance" if nodeid.startswith("tests/acceptance/") else "steps"


def _some_test_uses(request: pytest.FixtureRequest, fixture: str) -> bool:
    """Tell whether a test of this process needs a fixture."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    if "PYTEST_XDIST_WORKER" in os.environ:
        ours = _half_of(os.environ["PYTEST_CURRENT_TEST"])
        items = [item for item in items if _half_of(item.nodeid) == ours]
    return any(fixture in item.fixturenames for item in items)


@pytest.fixture(scope="session")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """The session's environment: without settings of the caller's, and no proxy on loopback."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("BIRDWALK_", "PREFECT_")):
                patch.delenv(name)
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, ",".join(filter(None, [os.environ.get(name), "127.0.0.1"])))
        yield patch


@pytest.fixture(scope="session")
def stack_directory() -> Iterator[Path]:
    """The stack's state; not in pytest's own directory, which is closed to other users."""
    directory = Path(tempfile.mkdtemp(prefix="birdwalk tests-")).resolve()
    directory.chmod(0o755)  # Postgres is another user when we are root
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
async def stack(
    request: pytest.FixtureRequest, stack_directory: Path, environment: pytest.MonkeyPatch
) -> AsyncIterator[Stack]:
    """Postgres, Cloud Storage and Vertex AI on loopback; its bucket `birdwalk` has the samples.

    The Prefect server and the worker run too where a selected test asks for them.
    """
    assert environment
    worker = _some_test_uses(request, "worker_stack")
    prefect = worker or _some_test_uses(request, "prefect_stack")
    # At 3 in the night a scheduled run would make calls that a test counts.
    options = StackOptions(
        stack_directory,
        model_server=SERVER,
        prefect=prefect,
        schedules=False,
        worker=worker,
    )
    async with running(options) as started:
        yield started


@pytest.fixture(scope="session")
def prefect_stack(stack: Stack) -> Stack:
    """The stack, sure to have a Prefect server."""
    assert stack.addresses.prefect_api_url is not None
    return stack


@pytest.fixture(scope="session")
def worker_stack(prefect_stack: Stack) -> Stack:
    """The stack, sure to have a Prefect server and a worker that serves the deployments."""
    return prefect_stack


@pytest.fixture(scope="session")
async def database_server(stack: Stack) -> str:
    """The address of the stack's Postgres, with the template of test databases made."""
    await make_template(stack.addresses.database_url)
    return stack.addresses.database_url


@pytest.fixture
async def database_url(database_server: str) -> AsyncIterator[str]:
    """A database of this test's own, with the extension and birdwalk's empty tables."""
    async with fresh_database(database_server) as url:
        yield url


@pytest.fixture
async def bare_database_url(database_server: str) -> AsyncIterator[str]:
    """A database of this test's own, with nothing in it: no extension, no schema."""
    async with fresh_database(database_server, "template1") as url:
        yield url


@pytest.fixture
def settings(stack: Stack, database_url: str, tmp_path: Path) -> Settings:
    """Settings for the stack with this test's database; files go under tmp_path."""
    return settings_for(stack, database_url, tmp_path / "data")


@pytest.fixture
def bucket(stack: Stack) -> Iterator[LocalBucket]:
    """An empty bucket of this test's own."""
    client = storage_client(stack.addresses.storage_endpoint)
    name = f"test-{secrets.token_hex(4)}"
    client.create_bucket(name)
    yield LocalBucket(name, client)
    client.close()


@pytest.fixture
async def model_server(stack: Stack) -> AsyncIterator[ModelServer]:
    """The stack's model server: counters at zero, and as it was afterwards."""
    server = ModelServer(stack.addresses.vertex_endpoint)
    await server.reset()
    yield server
    await server.configure()
    await server.reset()
