"""What another session holds is waited for, but not for ever, and its holder is named."""

import asyncio
import re

import pytest

from deployments.local.stack import Stack
from tasks.core.database import connections
from tasks.core.database.connections import open_database
from tasks.core.errors import LockTimeout
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import fetch, secret
from tests.support.sync import options, prepare, sync
from tests.support.truth import check_shown, contents

SETTINGS = """
SELECT current_setting('tcp_keepalives_idle')::integer
    + current_setting('tcp_keepalives_interval')::integer
        * current_setting('tcp_keepalives_count')::integer,
    current_setting('tcp_user_timeout'), current_setting('lock_timeout')
"""


async def test_postgres_is_to_notice_soon_that_a_machine_is_lost_on_every_connection(
    stack: Stack, settings: Settings
) -> None:
    tcp = settings.model_copy(update={"database_url": secret(stack.addresses.database_tcp_url)})
    async with open_database(tcp) as database:
        own = await database.connect("birdwalk run first")
        async with database.connection() as lent:
            for connection in (own, lent):
                assert await connection.fetch(SETTINGS) == [(30, "30000", "1min")]
        await own.close()


async def test_a_lost_machines_transaction_does_not_hang_the_next_run_but_is_named(
    settings: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run's lock is free, and what its transaction has written is not (sync.md, V4)."""
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    bucket.put("new.png")
    monkeypatch.setitem(connections.WRITER_SETTINGS, "lock_timeout", "100ms")
    async with (
        open_database(settings, name="birdwalk run ghost") as ghost,
        ghost.transaction() as lost,
    ):
        await lost.execute("DELETE FROM birdwalk.listings")
        [(since,)] = await fetch(
            url, "SELECT xact_start FROM pg_stat_activity WHERE application_name ~ 'ghost'"
        )
        said = (
            "A lock was waited for in vain: nothing was changed. The oldest open transaction is of"
            f" 'birdwalk run ghost', since {since:%Y-%m-%d %H:%M:%S} UTC. Wait for it, or end it"
        )
        with pytest.raises(LockTimeout, match=re.escape(said)):
            async with asyncio.timeout(60):
                await sync(settings, bucket.name)
    assert (await sync(settings, bucket.name)).total("calls") == 1
    await check_shown(settings, url, contents(bucket))


async def test_who_waits_for_somebody_else_is_told_where_to_look(
    settings: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_pictures(1)
    monkeypatch.setitem(connections.WRITER_SETTINGS, "lock_timeout", "100ms")
    async with (
        open_database(settings, name="pg_dump") as other,
        other.transaction() as held,
    ):
        await held.execute("LOCK TABLE birdwalk.listings")
        with pytest.raises(LockTimeout, match=r"No other session of birdwalk .* into pg_locks"):
            async with open_run(options(bucket.name), settings, "test") as run:
                await prepare(run)
    assert await fetch(url, "SELECT verdict FROM birdwalk.runs") == [("failed",)]
