"""Kill a sync and its servers again and again, and see what the index is worth afterwards."""

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from deployments.local import postgres, processes, vertex_server
from deployments.local.addresses import PROJECT
from deployments.local.postgres_home import find_home
from deployments.local.state import choose_ports
from deployments.local.vertex_options import ModelServerOptions
from deployments.local.vertex_statistics import read_statistics
from tasks.core.concurrency import for_each
from tasks.core.settings import Settings
from tasks.core.types import Vector
from tasks.core.vertex import open_embedder
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval, secret
from tests.support.driver import STOPPED
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
TARGETS = ("flow", "flow", "postgres", "vertex", "all")
REQUESTS_PER_MINUTE = 2400
BATCH_SIZE = 20
LATENCY_SECONDS = 0.1
DIMENSION = 128
QUESTION = "SELECT image_id, generation, embedding::text FROM image_embeddings"


@dataclass(slots=True)
class Servers:
    """A Postgres and a model server of one's own: others use the stack's meanwhile.

    Attributes:
        running: the processes, by name.
        paid: answers of model servers that are dead.
        most_in_flight: the most calls at work at one moment in any of them.
    """

    running: dict[str, processes.Process]
    settings: Settings
    paid: int = 0
    most_in_flight: int = 0

    async def kill(self, name: str) -> None:
        """End one at once, as kill -9 does."""
        if name == "vertex":
            await self._count()
        await self.running[name].kill()

    async def restart(self, name: str) -> None:
        """Start one again that was killed."""
        self.running[name] = await processes.start(self.running[name].program)

    async def count(self) -> int:
        """Return the answers with a vector so far."""
        statistics = await read_statistics(self.settings.vertex_endpoint or "")
        self.most_in_flight = max(self.most_in_flight, statistics.most_in_flight)
        return self.paid + (statistics.by_code or {}).get("OK", 0)

    async def _count(self) -> None:
        self.paid = await self.count()


@asynccontextmanager
async def own_servers(
    directory: Path, storage_endpoint: str, data_directory: Path
) -> AsyncIterator[Servers]:
    """Start both; the directory must be open to the user that Postgres runs as."""
    home = find_home(directory)
    ports = choose_ports(["postgres", "vertex"], {})
    url = postgres.database_url(home, ports["postgres"], "postgres")
    settings = Settings(
        database_url=secret(url),
        project=PROJECT,
        storage_endpoint=storage_endpoint,
        vertex_endpoint=f"http://127.0.0.1:{ports['vertex']}",
        data_directory=data_directory,
        image_time_budget_seconds=60.0,
    )
    programs = (
        postgres.program(home, port=ports["postgres"], log=directory / "postgres.log"),
        vertex_server.program(
            port=ports["vertex"],
            storage_endpoint=storage_endpoint,
            log=directory / "vertex.log",
            options=ModelServerOptions(latency_seconds=LATENCY_SECONDS),
        ),
    )
    servers = Servers({}, settings)
    try:
        for program in programs:
            servers.running[program.name] = await processes.start(program)
        yield servers
    finally:
        for process in servers.running.values():
            await process.stop()
        postgres.remove_sockets(home)


@dataclass(slots=True)
class Attack:
    """A bucket that changes, a sync that is killed, and the count of what that may cost.

    Attributes:
        contents: pictures that were ever put into the bucket; each may be paid for once.
        flow_kills: kills that hit the sync while it ran: its calls under way are paid for again.
        log: what befell when.
    """

    servers: Servers
    bucket: LocalBucket
    random: random.Random
    contents: int = 0
    flow_kills: int = 0
    log: list[str] = field(default_factory=list)
    _flow: Process | None = None

    def fill(self, images: int) -> None:
        """Put so many pictures into the bucket."""
        self.bucket.put_pictures(images)
        self.contents = images

    async def run(self, kills: int) -> None:
        """Kill so many times at random instants, and then let the sync end."""
        done = 0
        while done < kills:
            instant = self.random.uniform(0.1, 2.5)
            # One in four hits whatever the sync does first: its listing, its plan, its recovery.
            early = self.random.random() < 0.25
            if await self._ended_within(instant, embedding=not early):
                self._change_bucket(40)
                continue
            await self._kill(self.random.choice(TARGETS))
            done += 1
        while not await self._ended_within(120.0):
            pass

    async def _ended_within(self, seconds: float, *, embedding: bool = False) -> bool:
        """Let the sync run on for so long; return whether it has made the index whole.

        Args:
            seconds: how long.
            embedding: whether to count them from its next call on.
        """
        if self._flow is None:
            self._flow = await self._start()
        output = asyncio.create_task(self._flow.communicate())
        if embedding:
            before = await self.servers.count()

            async def calls() -> bool:
                return output.done() or await self.servers.count() > before

            await until(calls, 120)
        done, _ = await asyncio.wait([output], timeout=seconds)
        if not done:
            output.cancel()
            await asyncio.wait([output])
            return False
        _, err = output.result()
        status, self._flow = self._flow.returncode, None
        said = err.decode().strip().splitlines()
        self.log.append(f"the sync ended with {status}: {said[-1:]}")
        assert status in {0, STOPPED}, err.decode()
        return status == 0

    async def _kill(self, target: str) -> None:
        self.log.append(f"kill {target}")
        names = ("postgres", "vertex") if target == "all" else (target,)
        if target in {"flow", "all"} and self._flow is not None:
            self._flow.kill()
            await self._flow.wait()
            self._flow = None
            self.flow_kills += 1
        for name in names:
            if name != "flow":
                await self.servers.kill(name)
        await asyncio.sleep(self.random.uniform(0.0, 1.0))
        for name in names:
            if name != "flow":
                await self.servers.restart(name)
        if self._flow is None:
            self._change_bucket(3)

    async def _start(self) -> Process:
        settings = self.servers.settings
        environment = {
            f"BIRDWALK_{name.upper()}": str(value)
            for name, value in settings.model_dump(exclude_none=True).items()
        }
        environment["BIRDWALK_DATABASE_URL"] = settings.database_url.get_secret_value()
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.driver", self.bucket.name),
            *(str(REQUESTS_PER_MINUTE), str(BATCH_SIZE)),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=PIPE,
            stderr=PIPE,
        )

    def _change_bucket(self, images: int) -> None:
        """Replace, add, move and delete pictures: nobody lists the bucket just now."""
        names = sorted(self.generations())
        for name in self.random.sample(names, images):
            match self.random.randrange(4):
                case 0:
                    self.bucket.put(name, self._new_picture())
                case 1:
                    self.bucket.put(f"added/{self.contents:04d}.png", self._new_picture())
                case 2:
                    blob = self.bucket.client.bucket(self.bucket.name).blob(name)
                    self.bucket.put(f"moved/{self.contents:04d}-{name}", blob.download_as_bytes())
                    self.bucket.delete(name)
                case _:
                    self.bucket.delete(name)

    def _new_picture(self) -> bytes:
        self.contents += 1
        return picture(10_000 + self.contents)

    def generations(self) -> dict[str, int]:
        """Return the bucket's objects with their generations."""
        blobs = self.bucket.client.list_blobs(self.bucket.name)
        return {blob.name: int(blob.generation) for blob in blobs}

    async def close(self) -> None:
        """End the sync where it still runs."""
        if self._flow is not None:
            with suppress(ProcessLookupError):
                self._flow.kill()
            await self._flow.wait()


@dataclass(frozen=True, slots=True)
class Damage:
    """How the index differs from the bucket, and what was paid more than once.

    Attributes:
        lost, extra, outdated: images without a row, rows without an image, of another version.
        doubled: rows of the space beyond one an image.
        wrong: rows whose vector is not what the model answers.
        repeated: answers beyond one a picture.
        allowed: calls that were under way when something was killed.
    """

    lost: frozenset[str]
    extra: frozenset[str]
    outdated: frozenset[str]
    doubled: int
    wrong: frozenset[str]
    repeated: int
    allowed: int

    @property
    def none(self) -> bool:
        """Whether nothing is lost, doubled or stale, and nothing paid again without need."""
        broken = self.lost or self.extra or self.outdated or self.doubled or self.wrong
        return not broken and self.repeated <= self.allowed


async def assess(attack: Attack) -> Damage:
    """Compare the index with the bucket and with the model, which is asked for every image."""
    servers = attack.servers
    url = servers.settings.database_url.get_secret_value()
    paid = await servers.count()
    there = attack.generations()
    rows = await fetch(url, QUESTION)
    stored = {name: generation for name, generation, _ in rows}
    vectors = {name: np.array(orjson.loads(text), np.float32) for name, _, text in rows}
    answers = await _ask_for_all(attack, sorted(there.keys() & stored.keys()))
    return Damage(
        lost=frozenset(there.keys() - stored.keys()),
        extra=frozenset(stored.keys() - there.keys()),
        outdated=frozenset(
            name for name in there.keys() & stored.keys() if there[name] != stored[name]
        ),
        doubled=len(rows)
        - len(stored)
        + await fetchval(url, "SELECT count(*) FROM birdwalk.space_1")
        - len(rows),
        wrong=frozenset(
            name
            for name, vector in answers.items()
            if not np.allclose(vector, vectors[name], atol=1e-5)
        ),
        repeated=max(0, paid - attack.contents),
        allowed=attack.flow_kills * servers.most_in_flight,
    )


async def _ask_for_all(attack: Attack, names: list[str]) -> dict[str, Vector]:
    settings = attack.servers.settings
    async with open_embedder(settings, "multimodalembedding@001", DIMENSION) as embedder:
        addresses = [f"gs://{attack.bucket.name}/{name}" for name in names]
        return dict(zip(names, await for_each(addresses, embedder.embed_uri, 8), strict=True))
