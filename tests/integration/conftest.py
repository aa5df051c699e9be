"""What the tests of single steps share."""

import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from deployments.local.processes.identity import marked
from deployments.local.processes.program import start
from deployments.local.stack import Stack
from deployments.local.storage import server as storage
from deployments.local.storage.samples import ensure_samples
from tasks.core.embedding import embed_image
from tasks.core.runs import space_lock
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.searching.searcher import Searcher, open_searcher
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, storage_client
from tests.support.databases import fresh_database, settings_for
from tests.support.gallery import running_gallery
from tests.support.model_server import ModelServer
from tests.support.sync import options, sync


@pytest.fixture
def url(settings: Settings) -> str:
    """The address of this test's database, for questions that readers and operators ask."""
    return settings.database_url.get_secret_value()


@pytest.fixture
def passable_directory() -> Iterator[Path]:
    """An empty directory that everybody may pass through, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="birdwalk-test-")).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def state_directory(passable_directory: Path) -> Iterator[Path]:
    """The state directory of a stack of this test's own, to be made; nothing is left running."""
    directory = passable_directory / "the stack"
    yield directory
    assert marked(directory) == []


@pytest.fixture
def one_picture(tmp_path: Path) -> Path:
    """A folder for such a stack's bucket."""
    folder = tmp_path / "my pictures"
    folder.mkdir()
    (folder / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture
async def run(settings: Settings, bucket: LocalBucket) -> AsyncIterator[Run]:
    """An open run on this test's bucket, in batches of ten."""
    async with open_run(options(bucket.name, batch_size=10), settings, "test") as opened:
        yield opened


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run that lost its connection find out only when it asks."""
    monkeypatch.setattr(space_lock, "SECONDS_BETWEEN_BEATS", 600.0)


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the waits between an image's attempts short; their number and growth stay."""
    monkeypatch.setattr(embed_image, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(embed_image, "LONGEST_BACKOFF_SECONDS", 0.1)


@pytest.fixture(scope="session")
async def memory_storage(
    environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """A storage server that takes any object name, as Google does; gives its address."""
    assert environment
    directory = tmp_path_factory.mktemp("memory storage")
    pictures = directory / "pictures"
    pictures.mkdir()
    async for endpoint in _serve(pictures, directory, in_memory=True):
        yield endpoint


@pytest.fixture
async def memory_bucket(
    memory_storage: str, model_server: ModelServer
) -> AsyncIterator[LocalBucket]:
    """An empty bucket that takes any object name; the model answers without reading it."""
    await model_server.configure(instant=True)
    client = storage_client(memory_storage)
    name = f"test-{secrets.token_hex(4)}"
    client.create_bucket(name)
    yield LocalBucket(name, client)
    client.close()


@pytest.fixture
def memory_settings(settings: Settings, memory_storage: str) -> Settings:
    """The settings that go with `memory_bucket`."""
    return settings.model_copy(update={"storage_endpoint": memory_storage})


@pytest.fixture(scope="session")
async def large_storage(
    environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """A storage server whose bucket `large` holds 2,345 objects, 45 of them notes."""
    assert environment
    directory = tmp_path_factory.mktemp("large storage")
    pictures = directory / "pictures"
    pictures.mkdir()
    _fill(pictures)
    async for endpoint in _serve(pictures, directory, bucket="large"):
        yield endpoint


def _fill(pictures: Path) -> None:
    for number in range(2300):
        (pictures / f"{number:05d}.png").write_bytes(b"picture %d" % number)
    for number in range(45):
        (pictures / f"{number:05d}.txt").write_bytes(b"note")


async def _serve(
    pictures: Path, directory: Path, *, bucket: str = "birdwalk", in_memory: bool = False
) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await start(
        storage.program(
            port=port,
            pictures=pictures,
            bucket=bucket,
            state_directory=directory,
            log=directory / "storage.log",
            in_memory=in_memory,
        )
    )
    yield f"http://127.0.0.1:{port}"
    await process.stop()


@pytest.fixture(scope="session")
async def samples(
    stack: Stack, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Searcher]:
    """A searcher on an index of all samples."""
    async with fresh_database(database_server) as url:
        settings = settings_for(stack, url, tmp_path_factory.mktemp("data"))
        await sync(settings, "birdwalk")
        async with open_searcher(settings) as searcher:
            yield searcher


@pytest.fixture
async def gallery(samples: Searcher) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gallery over the samples."""
    async with running_gallery(samples.settings) as client:
        yield client


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the samples, as the bucket has them."""
    return ensure_samples(tmp_path_factory.mktemp("pictures") / "samples")
