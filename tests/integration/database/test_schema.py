"""birdwalk's own tables are made once, in numbered steps, and by nobody who does not know them."""

import asyncio

import asyncpg
import pytest

from tasks.core.database import connections
from tasks.core.database.connections import SCHEMA_VERSION, open_database
from tasks.core.errors import DatabaseError, UnknownIndex
from tasks.core.settings import Settings
from tests.support.databases import execute, fetch, fetchval, secret

VERSIONS = "SELECT version FROM birdwalk.schema_version ORDER BY version"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'birdwalk' ORDER BY 1"
OBJECTS = """
    SELECT oid, relname, xmin FROM pg_class
    WHERE relnamespace = 'birdwalk'::regnamespace ORDER BY oid
"""


@pytest.fixture
def bare(settings: Settings, bare_database_url: str) -> Settings:
    """Settings for a database with nothing in it."""
    return settings.model_copy(update={"database_url": secret(bare_database_url)})


async def open_once(settings: Settings, *, read_only: bool = False) -> None:
    async with open_database(settings, read_only=read_only):
        pass


async def test_a_fresh_database_gets_every_step_and_a_second_opening_changes_nothing(
    bare: Settings, bare_database_url: str
) -> None:
    await open_once(bare)
    versions = [(number,) for number in range(1, SCHEMA_VERSION + 1)]
    assert await fetch(bare_database_url, VERSIONS) == versions
    made = {name for (name,) in await fetch(bare_database_url, TABLES)}
    assert {"indexes", "spaces", "runs", "listings", "work", "batches", "refusals"} <= made
    objects = await fetch(bare_database_url, OBJECTS)
    await open_once(bare)
    assert await fetch(bare_database_url, OBJECTS) == objects
    assert await fetch(bare_database_url, VERSIONS) == versions


async def test_two_first_openings_at_once_make_the_tables_once(
    bare: Settings, bare_database_url: str
) -> None:
    await asyncio.gather(*(open_once(bare) for _ in range(4)))
    assert await fetchval(bare_database_url, "SELECT count(*) FROM birdwalk.schema_version") == (
        SCHEMA_VERSION
    )


async def test_a_step_that_is_new_is_applied_alone_and_whole_or_not_at_all(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = connections.schema
    steps = {f"version_{SCHEMA_VERSION + 1}": "CREATE TABLE birdwalk.new (number integer)"}
    monkeypatch.setattr(connections, "schema", lambda name: steps.get(name) or known(name))
    monkeypatch.setattr(connections, "SCHEMA_VERSION", SCHEMA_VERSION + 2)
    steps[f"version_{SCHEMA_VERSION + 2}"] = "CREATE TABLE birdwalk.runs (number integer)"
    with pytest.raises(DatabaseError, match="already exists"):
        await open_once(settings)
    assert await fetchval(url, "SELECT to_regclass('birdwalk.new')") is None
    steps[f"version_{SCHEMA_VERSION + 2}"] = "ALTER TABLE birdwalk.new ADD COLUMN name text"
    await open_once(settings)
    assert await fetchval(url, "SELECT max(version) FROM birdwalk.schema_version") == (
        SCHEMA_VERSION + 2
    )
    assert await fetch(url, "SELECT number, name FROM birdwalk.new") == []


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_database_of_a_newer_birdwalk_is_refused_by_name_and_left_alone(
    settings: Settings, url: str, *, read_only: bool
) -> None:
    newer = SCHEMA_VERSION + 1
    await execute(url, "INSERT INTO birdwalk.schema_version (version) VALUES ($1)", newer)
    objects = await fetch(url, OBJECTS)
    said = rf"of version {newer}, and this birdwalk knows {SCHEMA_VERSION}: .*Update this one"
    with pytest.raises(DatabaseError, match=said):
        await open_once(settings, read_only=read_only)
    assert await fetch(url, OBJECTS) == objects


async def test_a_database_of_before_the_first_release_is_refused_with_what_to_do(
    bare: Settings, bare_database_url: str
) -> None:
    await execute(
        bare_database_url,
        "CREATE SCHEMA birdwalk; CREATE TABLE birdwalk.runs (run_id bigint);"
        " INSERT INTO birdwalk.runs VALUES (7)",
    )
    with pytest.raises(DatabaseError, match=r"\(DROP SCHEMA birdwalk CASCADE\) and run again"):
        await open_once(bare)
    assert await fetch(bare_database_url, "SELECT run_id FROM birdwalk.runs") == [(7,)]
    await execute(bare_database_url, "DROP SCHEMA birdwalk CASCADE")
    await open_once(bare)


async def test_a_reader_makes_nothing(bare: Settings, bare_database_url: str) -> None:
    with pytest.raises(UnknownIndex, match="holds no index yet"):
        await open_once(bare, read_only=True)
    assert await fetchval(bare_database_url, "SELECT to_regnamespace('birdwalk')") is None


async def test_opening_a_database_waits_for_no_run_that_is_under_way(
    settings: Settings, url: str
) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(), asyncio.timeout(20):
            # As runs do, for as long as their transactions have written there.
            for (table,) in await fetch(url, TABLES):
                await connection.execute(f"LOCK TABLE birdwalk.{table} IN ROW EXCLUSIVE MODE")
            await open_once(settings)
    finally:
        await connection.close()
