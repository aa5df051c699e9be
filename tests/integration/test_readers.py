"""Who may only read can ask and browse, and changes nothing."""

import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from tasks.core.browsing import (
    browse,
    list_folders,
    list_syncs,
    summarise_spaces,
)
from tasks.core.errors import DatabaseError, DatabaseUnavailable, UnknownIndex
from tasks.core.postgres import open_database
from tasks.core.questions import Question
from tasks.core.searcher import Searcher, open_searcher
from tasks.core.settings import Settings
from tasks.core.similar import find_active_space, find_similar
from tests.support.databases import execute, secret

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
            space = await find_active_space(connection, INDEX)
            assert len((await browse(connection, space, "birds/", 200)).images) == 24
            assert await list_folders(connection, space, "")
            assert await list_syncs(connection, INDEX)
            assert await summarise_spaces(connection, INDEX)
    with pytest.raises(DatabaseError, match="CREATE on the database"):
        async with open_searcher(reader):
            pass


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
