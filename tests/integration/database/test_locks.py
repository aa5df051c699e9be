"""A lock is held by whoever Postgres says it is, also after a network was lost unnoticed."""

from collections.abc import AsyncIterator

import pytest

from tasks.core.database import locks
from tasks.core.database.connections import Database, open_database
from tasks.core.database.locks import Holder, SessionLock
from tasks.core.settings import Settings
from tests.support.databases import fetchval, secret
from tests.support.relay import Relay
from tests.support.waiting import until

KEY = "birdwalk index relayed"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'birdwalk run%'"


@pytest.fixture
async def relay(url: str) -> AsyncIterator[Relay]:
    """A network to this test's database."""
    async with Relay(url).open() as opened:
        yield opened


@pytest.fixture
async def far(settings: Settings, relay: Relay) -> AsyncIterator[Database]:
    """The database behind the network."""
    relayed = settings.model_copy(update={"database_url": secret(relay.url)})
    async with open_database(relayed) as opened:
        yield opened


@pytest.fixture
async def near(settings: Settings) -> AsyncIterator[Database]:
    """The same database, directly."""
    async with open_database(settings) as opened:
        yield opened


async def is_lost(lock: SessionLock) -> bool:
    """Return whether the lock's session does not answer; nobody waits long for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "SECONDS_TO_ANSWER", 0.2)
        return not await lock.answers()


async def test_who_lost_a_lock_unnoticed_sees_that_another_has_it(
    far: Database, near: Database, relay: Relay
) -> None:
    first = SessionLock(far, KEY, "birdwalk run first")
    second = SessionLock(near, KEY, "birdwalk run second")
    assert await first.take() is None
    assert await first.answers()
    relay.lose_connections(server_notices=True)
    while await second.take() is not None:
        pass  # Postgres ends the first session in its own time
    assert await is_lost(first)
    holder = await first.take()
    assert holder is not None
    assert holder.application_name == "birdwalk run second"
    await second.release()


async def test_a_lock_is_had_again_where_only_our_own_lost_session_still_holds_it(
    far: Database, near: Database, relay: Relay, url: str
) -> None:
    lock = SessionLock(far, KEY, "birdwalk run first")
    assert await lock.take() is None
    relay.lose_connections(server_notices=False)
    other = SessionLock(near, KEY, "birdwalk run second")
    assert await other.take() is not None
    assert await is_lost(lock)
    assert await lock.take() is None
    assert await lock.answers()
    assert await other.take() is not None

    async def one_is_left() -> bool:
        return bool(await fetchval(url, SESSIONS) == 1)

    await until(one_is_left)
    await lock.release()


def test_a_holder_whose_beginning_is_not_told_to_everybody_is_named_all_the_same() -> None:
    assert str(Holder(1, "birdwalk run first", None)) == "birdwalk run first"
