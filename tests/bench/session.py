"""What all benchmarks share: the stack they measure against, and the programs they measure."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import numpy as np
from PIL import Image
from pydantic import SecretStr

from deployments.local.addresses import PROJECT, Addresses, StackOptions
from deployments.local.processes.state import read_state
from deployments.local.stack import running
from deployments.local.storage.samples import ensure_samples, list_samples
from deployments.local.vertex.options import ModelServerOptions
from tasks.core.database.connections import Connection, Database
from tasks.core.maintenance.drop_space import drop_index
from tasks.core.settings import Settings
from tests.bench.processor import processor_seconds
from tests.support.servers.statistics import configure, reset_statistics
from tests.support.servers.vertex import SERVER

BUCKET = "birdwalk"
TINY = "tiny/"
"""Prefix of pictures that cost nothing to read."""

TINY_PICTURES = 5_000
SAMPLES = "samples/"
"""Prefix of the sample pictures, several copies of each."""

SAMPLE_COPIES = 3
SMALL = "small/"
"""Prefix of small JPEGs: with them, what is not the model takes the largest share."""

SMALL_PICTURES = 3_786
SMALL_SIDE = 64
DIMENSION = 128
NO_QUOTA = 10_000_000
"""Requests a minute that nothing here reaches."""

ROOT = Path(__file__).resolve().parents[2]
METER = Path(__file__).with_name("meter.py")


class MeasurementFailed(Exception):
    """What should have been measured did not do what it was there for."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a program took, from its start to its end."""

    seconds: float
    processor_seconds: float
    peak_megabytes: float


@dataclass(frozen=True, slots=True)
class Session:
    """A running stack whose bucket holds the benchmarks' pictures.

    Attributes:
        addresses: of the stack's servers.
        scratch: a directory for files, gone at the end.
        samples: the files behind the objects of the prefix SAMPLES.
        small: those of the prefix SMALL.
    """

    addresses: Addresses
    scratch: Path
    samples: tuple[Path, ...]
    small: tuple[Path, ...] = ()

    @property
    def settings(self) -> Settings:
        """What a flow on this stack would read from its environment."""
        return Settings(
            database_url=SecretStr(self.addresses.database_url),
            project=PROJECT,
            storage_endpoint=self.addresses.storage_endpoint,
            vertex_endpoint=self.addresses.vertex_endpoint,
            data_directory=self.addresses.data_directory,
        )

    async def set_model(self, options: ModelServerOptions) -> None:
        """Let the model server answer so from now on, and begin its counters anew."""
        await configure(self.addresses.vertex_endpoint, options)
        await reset_statistics(self.addresses.vertex_endpoint)

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time of each server of the stack so far."""
        servers = read_state(self.scratch / "stack").servers
        return {server.name: processor_seconds(server.process.pid) for server in servers}

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection to the stack's database."""
        connection = await asyncpg.connect(self.addresses.database_url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def fresh_index(self) -> AsyncIterator[str]:
        """Yield the name of an index that does not exist; what was made of it goes at the end."""
        index = f"bench_{uuid.uuid4().hex[:12]}"
        try:
            yield index
        finally:
            await drop_index(self.settings, index)

    async def run_flow(
        self,
        index: str,
        *arguments: str,
        requests_per_minute: int = NO_QUOTA,
        environment: Mapping[str, str] | None = None,
        tree: Path = ROOT,
    ) -> Spent:
        """Run the flow embed_images on the bucket, as a user would from a terminal.

        Args:
            index: its parameter.
            arguments: further options of its command line.
            requests_per_minute: its parameter.
            environment: variables set on top of the stack's.
            tree: the work tree whose flow it is.

        Raises:
            MeasurementFailed: it failed; with its output.
        """
        return await self.run(
            *("flows.embed_images", "--bucket", BUCKET, "--index", index),
            *("--dimension", str(DIMENSION)),
            *("--requests-per-minute", str(requests_per_minute)),
            *arguments,
            environment=environment,
            tree=tree,
        )

    async def run(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        tree: Path = ROOT,
    ) -> Spent:
        """Run a module of the repository in a process of its own, and return what it took.

        Raises:
            MeasurementFailed: it failed; with its output.
        """
        return await self.run_python("-m", module, *arguments, environment=environment, tree=tree)

    async def run_python(
        self, *arguments: str, environment: Mapping[str, str] | None = None, tree: Path = ROOT
    ) -> Spent:
        """Run Python in a work tree, and return what it took.

        Raises:
            MeasurementFailed: it failed; with its output.
        """
        report = self.scratch / f"{uuid.uuid4().hex}.json"
        command = (sys.executable, *arguments)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(METER), str(report), *command),
            cwd=tree,
            env={**os.environ, **self.addresses.environment(), **(environment or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise MeasurementFailed(
                f"{' '.join(command)} failed:\n{output.decode(errors='replace')}"
            )
        return Spent(**json.loads(report.read_text(encoding="utf-8")))


@asynccontextmanager
async def opened() -> AsyncIterator[Session]:
    """Start a stack of its own in a temporary directory, and yield it with an empty database."""
    with TemporaryDirectory(prefix="birdwalk-bench-") as directory:
        scratch = Path(directory)
        pictures = scratch / "pictures"
        samples = await asyncio.to_thread(_make_pictures, scratch / "drawn", pictures)
        small = await asyncio.to_thread(_make_small_pictures, pictures)
        options = StackOptions(
            state_directory=scratch / "stack",
            model_server=SERVER,
            pictures=pictures,
            bucket=BUCKET,
            model=ModelServerOptions(instant=True),
        )
        async with running(options) as stack:
            session = Session(stack.addresses, scratch, samples, small)
            database = Database(session.settings)
            await database.open()
            await database.ensure_extension()
            await database.close()
            yield session


def _make_pictures(drawn: Path, pictures: Path) -> tuple[Path, ...]:
    """Write the bucket's pictures, no two with the same bytes; return the samples among them."""
    (pictures / TINY).mkdir(parents=True)
    for number in range(TINY_PICTURES):
        # The number is the colour.
        image = Image.new("RGB", (2, 2), (number >> 16, number >> 8 & 255, number & 255))
        image.save(pictures / TINY / f"{number:06d}.png")
    copies = []
    for sample in list_samples(ensure_samples(drawn)):
        for copy in range(SAMPLE_COPIES):
            path = pictures / SAMPLES / str(copy) / sample.name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Decoders pass over what follows the picture.
            path.write_bytes(sample.path.read_bytes() + bytes(copy))
            copies.append(path)
    return tuple(copies)


def _make_small_pictures(pictures: Path) -> tuple[Path, ...]:
    (pictures / SMALL).mkdir(parents=True)
    paths = tuple(pictures / SMALL / f"{number:06d}.jpg" for number in range(SMALL_PICTURES))
    for number, path in enumerate(paths):
        colours = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(colours).resize((SMALL_SIDE, SMALL_SIDE)).save(path, quality=90)
    return paths
