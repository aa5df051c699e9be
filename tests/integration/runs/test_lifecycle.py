"""A run is recorded with its end, also where Postgres is away while it opens or closes."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from tasks.core.errors import (
    BucketNotFound,
    DatabaseUnavailable,
    SpaceBusy,
    SystemicFailure,
)
from tasks.core.runs import lifecycle, outages
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.space_lock import SpaceLock
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval, secret
from tests.support.model_server import ModelServer
from tests.support.relay import Relay
from tests.support.sync import carry_out, options, prepare, sync
from tests.support.waiting import until

RUNS = "SELECT verdict, message FROM birdwalk.runs ORDER BY run_id"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


@pytest.fixture
async def relay(url: str) -> AsyncIterator[Relay]:
    """A network to this test's database, on which Postgres can be made to be away."""
    async with Relay(url).open() as opened:
        yield opened


@pytest.fixture
def far(settings: Settings, relay: Relay) -> Settings:
    """Settings that lead to the database through the network."""
    return settings.model_copy(update={"database_url": secret(relay.url)})


class Pauses:
    """The pauses between attempts, which take no time; at each something may happen."""

    def __init__(self) -> None:
        self.made: list[float] = []
        self.comes_back_at = len(outages.PAUSES_WITHOUT_DATABASE)
        self.relay: Relay | None = None

    async def sleep(self, seconds: float) -> None:
        self.made.append(seconds)
        if len(self.made) >= self.comes_back_at and self.relay is not None:
            self.relay.away = False


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch, relay: Relay) -> Pauses:
    made = Pauses()
    made.relay = relay
    monkeypatch.setattr(outages, "asyncio", SimpleNamespace(sleep=made.sleep))
    return made


async def test_every_run_is_recorded_with_its_end(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)

    async def cancelled() -> None:
        async with open_run(options(bucket.name), settings, "test"):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await cancelled()
    await model_server.configure(denied=True)
    with pytest.raises(SystemicFailure):
        await sync(settings, bucket.name, dimension=256)
    runs = "SELECT verdict, listed, embedded, price_usd::float, calls FROM birdwalk.runs ORDER BY 1"
    *ended, (*failed, denied) = await fetch(url, runs)
    assert ended == [("cancelled", 0, 0, 0.0, 0), ("completed", 3, 3, 0.0003, 3)]
    assert failed == ["failed", 3, 0, 0.0]
    assert 1 <= denied <= 3


async def test_the_space_of_a_run_whose_process_died_is_free_and_the_run_is_called_killed(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, index="another")
    await execute(url, "UPDATE birdwalk.runs SET verdict = 'running', published_at = NULL")
    await sync(settings, bucket.name)
    # Nobody says so of a run of another space, whose process may live.
    assert await fetch(url, RUNS) == [("failed", "killed"), ("running", ""), ("completed", "")]


@pytest.mark.parametrize("away_for", [1, len(outages.PAUSES_WITHOUT_DATABASE)])
async def test_a_run_opens_when_postgres_is_back(
    far: Settings, relay: Relay, pauses: Pauses, bucket: LocalBucket, url: str, away_for: int
) -> None:
    bucket.put_pictures(2)
    relay.away, pauses.comes_back_at = True, away_for
    assert (await sync(far, bucket.name)).published.images == 2
    assert len(pauses.made) == away_for
    assert await fetch(url, RUNS) == [("completed", "")]


async def test_a_run_that_postgres_is_away_for_too_long_does_not_open_and_says_what_to_do(
    far: Settings, relay: Relay, pauses: Pauses
) -> None:
    relay.away, pauses.comes_back_at = True, 1000
    with pytest.raises(DatabaseUnavailable, match=r"cannot be reached.*BIRDWALK_DATABASE_URL"):
        await sync(far, "photos")
    assert tuple(pauses.made) == outages.PAUSES_WITHOUT_DATABASE


@pytest.mark.parametrize("step", ["lock", "register", "join"])
async def test_a_connection_lost_in_any_step_of_opening_costs_a_pause(
    far: Settings,
    relay: Relay,
    pauses: Pauses,
    bucket: LocalBucket,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    bucket.put_pictures(2)
    place, name = {
        "lock": (SpaceLock, "take"),
        "register": (lifecycle, "_register"),
        "join": (SpaceLock, "work_for"),
    }[step]
    work = getattr(place, name)
    lost = False

    async def lose_the_first(*arguments: object) -> object:
        nonlocal lost
        if lost:
            return await work(*arguments)
        lost = True
        if step == "register":
            # Its COMMIT arrives, and the answer is lost.
            await work(*arguments)
        relay.go_away()
        raise DatabaseUnavailable("the connection was lost")

    monkeypatch.setattr(place, name, lose_the_first)
    pauses.comes_back_at = 2
    assert (await sync(far, bucket.name)).published.images == 2
    completed = [("completed", "")]
    assert await fetch(url, RUNS) == [
        *([("failed", "killed")] if step == "register" else []),
        *completed,
    ]


async def test_a_run_closes_when_postgres_is_back(
    far: Settings, relay: Relay, pauses: Pauses, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    async with open_run(options(bucket.name), far, "test") as run:
        await carry_out(run, await prepare(run))
        pauses.comes_back_at = 3
        relay.go_away()
    assert await fetch(url, RUNS) == [("completed", "")]
    assert len(pauses.made) == 3


async def test_a_published_run_has_completed_though_its_verdict_is_recorded_by_the_next(
    far: Settings,
    settings: Settings,
    relay: Relay,
    pauses: Pauses,
    bucket: LocalBucket,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bucket.put_pictures(2)
    async with open_run(options(bucket.name), far, "test") as run:
        await carry_out(run, await prepare(run))
        pauses.comes_back_at = 1000
        relay.go_away()
    assert f"That run {run.run_id} has completed will be recorded later" in caplog.text
    assert await fetch(url, RUNS) == [("running", "")]
    await sync(settings, bucket.name)
    assert await fetch(url, RUNS) == [("completed", "")] * 2
    paid = "SELECT price_usd::float, calls FROM birdwalk.runs ORDER BY run_id"
    assert await fetch(url, paid) == [(0.0002, 2), (0.0, 0)]


async def test_a_failure_that_cannot_be_recorded_is_the_runs_own_and_recorded_by_the_next(
    far: Settings,
    settings: Settings,
    relay: Relay,
    bucket: LocalBucket,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "SECONDS_TO_CLOSE", 0.2)
    bucket.put_pictures(2)

    async def fail() -> None:
        async with open_run(options(bucket.name), far, "test") as run:
            await prepare(run)
            relay.go_away()
            raise BucketNotFound("it was deleted")

    with pytest.raises(BucketNotFound):
        await fail()
    assert await fetch(url, RUNS) == [("running", "")]
    await sync(settings, bucket.name)
    assert await fetch(url, RUNS) == [("failed", "killed"), ("completed", "")]


async def test_a_run_that_fails_after_its_publish_has_completed(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)

    async def fail() -> None:
        async with open_run(options(bucket.name), settings, "test") as run:
            await carry_out(run, await prepare(run))
            raise DatabaseUnavailable("the connection was lost")

    with pytest.raises(DatabaseUnavailable):
        await fail()
    message = "DatabaseUnavailable: the connection was lost"
    assert await fetch(url, RUNS) == [("completed", message)]
    assert await fetchval(url, "SELECT finished_at IS NOT NULL FROM birdwalk.runs")


async def test_a_run_that_was_sent_away_leaves_no_session_behind(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(1)
    async with open_run(options(bucket.name), settings, "test"):
        with pytest.raises(SpaceBusy):
            await sync(settings, bucket.name)

    async def is_alone() -> bool:
        return bool(await fetchval(url, SESSIONS) == 1)

    await until(is_alone)
