"""Who may only read can ask and browse, and changes nothing."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable
from urllib.parse import urlsplit, urlunsplit

import pytest

from tasks.core.database import connections
from tasks.core.database.connections import Database, open_database
from tasks.core.errors import DatabaseError, DatabaseUnavailable, UnknownIndex
from tasks.core.searching.browse import browse, list_folders, list_published, list_syncs
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import Searcher, open_searcher
from tasks.core.settings import Settings
from tasks.core.spaces.registry import require_shown_space
from tests.support.databases import execute, secret
from tests.support.relay import Relay
from tests.support.waiting import until

INDEX = "image_embeddings"


@pytest.fixture
async def reader(samples: Searcher) -> AsyncIterator[Settings]:
    """Settings of a user who may read the samples' schema, and nothing else."""
    url = samples.settings.database_url.get_secret_value()
    role = f"reader_{secrets.token_hex(4)}"
    await execute(url, f"CREATE ROLE {role} LOGIN")
    await execute(url, f"GRANT USAGE ON SCHEMA birdwalk TO {role}")
    await execute(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA birdwalk TO {role}")
    changed = urlsplit(url)
    theirs = urlunsplit(changed._replace(netloc=changed.netloc.replace("postgres@", f"{role}@")))
    yield samples.settings.model_copy(update={"database_url": secret(theirs)})
    await execute(url, f"DROP OWNED BY {role}")
    await execute(url, f"DROP ROLE {role}")


async def test_a_user_who_may_only_read_can_ask_and_browse(reader: Settings) -> None:
    async with open_searcher(reader, read_only=True) as searcher:
        answer = await find_similar(
            searcher, INDEX, Question(image_id="planes/airplane.png", count=3)
        )
        assert [found.image_id.split("/")[0] for found in answer.neighbours] == ["planes"] * 3
        async with searcher.database.connection() as connection:
            space = await require_shown_space(connection, INDEX)
            assert len((await browse(connection, space, "birds/", 200)).images) == 24
            assert (await list_folders(connection, space, "")).prefixes
            assert await list_syncs(connection, INDEX)
            assert await list_published(connection) == (INDEX,)
    async with open_database(reader) as database:
        with pytest.raises(DatabaseError, match=r"may not do this: .* CREATE on the database"):
            async with database.transaction() as connection:
                await connection.execute("DELETE FROM birdwalk.runs")


async def test_who_may_not_even_read_is_told_what_to_grant(reader: Settings) -> None:
    url = reader.database_url.get_secret_value()
    role = urlsplit(url).username
    owner = urlunsplit(
        urlsplit(url)._replace(netloc=urlsplit(url).netloc.replace(f"{role}@", "postgres@"))
    )
    await execute(owner, f"REVOKE USAGE ON SCHEMA birdwalk FROM {role}")
    with pytest.raises(DatabaseError, match="USAGE on the schema birdwalk, and SELECT"):
        async with open_database(reader, read_only=True):
            pass


async def test_a_reader_writes_nothing_even_where_it_might(settings: Settings) -> None:
    async with open_database(settings, read_only=True) as database:
        with pytest.raises(DatabaseError, match="read-only transaction"):
            async with database.transaction() as connection:
                await connection.execute("DELETE FROM birdwalk.runs")


async def test_a_reader_of_a_database_without_an_index_is_told_so(
    settings: Settings, bare_database_url: str
) -> None:
    bare = settings.model_copy(update={"database_url": secret(bare_database_url)})
    with pytest.raises(UnknownIndex, match=r"no index yet\. Run embed-images"):
        async with open_database(bare, read_only=True):
            pass
    nowhere = settings.model_copy(update={"database_url": secret("postgresql://x@127.0.0.1:1/x")})
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        async with open_database(nowhere, read_only=True):
            pass


async def worked(asked: Awaitable[object]) -> bool:
    """Tell whether a database did what it was asked, in the time that a reader gives it."""
    try:
        await asked
    except DatabaseUnavailable:
        return False
    return True


async def ask(database: Database, how: str = "connection", relay: Relay | None = None) -> None:
    """Ask for something; with a relay, the database vanishes when it is about to be asked."""
    async with getattr(database, how)() as connection:
        if relay is not None:
            relay.dead = True
        await connection.fetchval("SELECT true")


@pytest.mark.parametrize("how", ["connection", "transaction"])
async def test_a_reader_gives_up_on_a_server_that_vanished_and_reads_when_it_is_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(connections, "READER_COMMAND_SECONDS", 0.5)
    monkeypatch.setattr(connections, "READER_PATIENCE_SECONDS", 0.5)
    async with Relay(settings.database_url.get_secret_value()).open() as relay:
        through = settings.model_copy(update={"database_url": secret(relay.url)})
        database = Database(through, read_only=True)
        # As often as it takes: the machine itself may stand still for longer.
        await until(lambda: worked(database.open()))
        await until(lambda: worked(ask(database)))
        async with asyncio.timeout(60):
            # What asyncpg says first depends on how far it came in giving up.
            with pytest.raises(DatabaseUnavailable, match=r"TimeoutError|connection is closed"):
                await ask(database, how, relay)
            relay.dead = True  # a stall may have come before it
            assert not await worked(ask(database))
        relay.dead = False
        await until(lambda: worked(ask(database)))
        await database.close()


async def test_a_reader_waits_for_a_connection_that_others_hold_no_longer_than_for_a_server(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = settings.model_copy(update={"database_connections": 2})
    async with (
        open_database(few, read_only=True) as database,
        database.connection(),
        database.connection(),
    ):
        monkeypatch.setattr(connections, "READER_PATIENCE_SECONDS", 0.1)
        async with asyncio.timeout(60):
            with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
                await ask(database)
