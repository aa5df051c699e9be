"""An index's view keeps its rights, its owner and its comment, whoever publishes what."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tasks.core.database.connections import open_database
from tasks.core.errors import DatabaseError
from tasks.core.maintenance.drop_space import drop_index
from tasks.core.planning.create_table import create_table
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tasks.core.spaces import view
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval, secret
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync
from tests.support.truth import check_shown, contents
from tests.support.waiting import until

STATE = """
SELECT pg_class.oid, relowner::regrole::text, relacl::text,
    obj_description(pg_class.oid, 'pg_class'),
    array(
        SELECT attname || ' ' || attacl::text FROM pg_attribute
        WHERE attrelid = pg_class.oid AND attacl IS NOT NULL ORDER BY attname
    )
FROM pg_class WHERE oid = 'image_embeddings'::regclass
"""
DIMENSION = "SELECT DISTINCT vector_dims(embedding) FROM image_embeddings"

WAITED_FOR = """
SELECT FROM pg_locks WHERE relation = 'image_embeddings'::regclass AND NOT granted
"""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
async def publisher(bare_database_url: str) -> AsyncIterator[str]:
    """A role that may do what the README asks for."""
    role = f"publisher_{secrets.token_hex(4)}"
    database = urlsplit(bare_database_url).path[1:]
    await execute(
        bare_database_url,
        f"CREATE ROLE {role} LOGIN; CREATE EXTENSION vector;"
        f" GRANT CREATE ON DATABASE {database} TO {role}; GRANT CREATE ON SCHEMA public TO {role}",
    )
    yield role
    await execute(bare_database_url, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.fixture
async def owner(bare_database_url: str) -> AsyncIterator[str]:
    """A role that may create nothing, of a name that must be quoted; gives it quoted."""
    role = quoted(f'an "owner" {secrets.token_hex(4)}')
    await execute(bare_database_url, f"CREATE ROLE {role}")
    yield role
    await execute(bare_database_url, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.fixture
async def reader(bare_database_url: str) -> AsyncIterator[str]:
    """A role that may read the view, and nothing else; gives it quoted."""
    role = quoted(f'a "reader" {secrets.token_hex(4)}')
    await execute(bare_database_url, f"CREATE ROLE {role}")
    yield role
    await execute(bare_database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def url(bare_database_url: str) -> str:
    """A database whose roles are all but superusers."""
    return bare_database_url


@pytest.fixture
def publishing(settings: Settings, url: str, publisher: str) -> Settings:
    """The settings of the publisher."""
    address = url.replace("postgres@", f"{publisher}@")
    return settings.model_copy(update={"database_url": secret(address)})


async def test_rights_owner_and_comment_outlive_every_publication(
    publishing: Settings, bucket: LocalBucket, url: str, publisher: str, owner: str, reader: str
) -> None:
    bucket.put_pictures(3)
    await sync(publishing, bucket.name)
    await execute(
        url,
        f"GRANT SELECT ON image_embeddings TO {reader} WITH GRANT OPTION;"
        " GRANT SELECT, UPDATE ON image_embeddings TO PUBLIC;"
        f" GRANT SELECT (image_id), SELECT (embedding) ON image_embeddings TO {reader};"
        " GRANT SELECT (model) ON image_embeddings TO PUBLIC;"
        f" GRANT {owner} TO {publisher}; ALTER VIEW image_embeddings OWNER TO {owner}",
    )
    before = await fetch(url, STATE)
    assert (before[0][1], len(before[0][4])) == (owner, 3)
    for number, dimension in enumerate((128, 256, 128)):
        bucket.put("0000.png", picture(50 + number))
        await sync(publishing, bucket.name, dimension=dimension)
        assert await fetch(url, STATE) == before
        connection = await asyncpg.connect(url)
        await connection.execute(f"SET ROLE {reader}")
        # The view reads with its owner's rights, and the function with the reader's own.
        assert await connection.fetch(DIMENSION) == [(dimension,)]
        alike = await connection.fetch("SELECT * FROM find_similar('0000.png')")
        assert {row["image_id"] for row in alike} == {"0001.png", "0002.png"}
        for table in ("runs", "images_1", "vectors_1"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT FROM birdwalk.{table}")
        await connection.close()
    await check_shown(publishing, url, contents(bucket))


async def test_a_view_that_is_another_roles_is_published_again_without_its_comment(
    publishing: Settings,
    bucket: LocalBucket,
    url: str,
    owner: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", view.__name__)
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(url, f"ALTER VIEW image_embeddings OWNER TO {owner}")
    bucket.put("new.png")
    await sync(publishing, bucket.name)
    assert caplog.text == ""
    await check_shown(publishing, url, contents(bucket))
    await execute(url, "UPDATE birdwalk.spaces SET ef_search = 123")
    await sync(publishing, bucket.name)
    assert "public.image_embeddings is not up to date" in caplog.text
    assert "SET hnsw.ef_search = 123 " in caplog.text


@pytest.mark.parametrize("remedy", ["ALTER VIEW", "GRANT"])
async def test_a_view_that_may_not_be_replaced_stops_the_run_before_a_call_and_says_what_helps(
    publishing: Settings,
    bucket: LocalBucket,
    url: str,
    publisher: str,
    owner: str,
    model_server: ModelServer,
    remedy: str,
) -> None:
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(url, f"ALTER VIEW image_embeddings OWNER TO {owner}")
    await model_server.reset()
    said = f'View public."image_embeddings" belongs to {owner}, so {publisher} may not replace it'
    with pytest.raises(DatabaseError, match=re.escape(said)) as refused:
        await sync(publishing, bucket.name, dimension=256)
    assert await model_server.calls() == 0
    assert await fetch(url, "SELECT dimension FROM birdwalk.spaces") == [(128,)]
    # Given away while a run embeds.
    async with open_run(options(bucket.name), publishing, "test") as run:
        await prepare(run)
        async with run.database.transaction() as connection:
            await connection.execute("UPDATE birdwalk.indexes SET space_id = NULL")
            with pytest.raises(DatabaseError, match=re.escape(said)):
                await view.show_space(connection, run.space, "public")
            await connection.execute("UPDATE birdwalk.indexes SET space_id = 1")
    with pytest.raises(DatabaseError, match=re.escape(said)):
        await drop_index(publishing, "image_embeddings")
    [statement] = re.findall(f"{remedy}[^;]*;", str(refused.value))
    await execute(url, statement)
    await sync(publishing, bucket.name, dimension=256)
    assert await fetch(url, DIMENSION) == [(256,)]


async def test_nobody_is_told_to_become_a_superuser_for_a_view(
    publishing: Settings, bucket: LocalBucket, url: str, publisher: str
) -> None:
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(url, "ALTER VIEW image_embeddings OWNER TO CURRENT_USER")
    with pytest.raises(DatabaseError, match=r"ALTER VIEW .* OWNER TO") as refused:
        await sync(publishing, bucket.name, dimension=256)
    assert "GRANT" not in str(refused.value)
    await execute(url, f"ALTER VIEW image_embeddings OWNER TO {publisher}")


async def test_what_depends_on_the_view_stays_through_a_change_of_space(
    publishing: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(url, "CREATE VIEW favourites AS SELECT content, embedding FROM image_embeddings")
    await sync(publishing, bucket.name, dimension=256)
    assert await fetch(url, "SELECT DISTINCT vector_dims(embedding) FROM favourites") == [(256,)]


async def test_two_indexes_that_are_first_published_at_once_share_the_function(
    publishing: Settings, url: str
) -> None:
    async def publication_waits() -> bool:
        return bool(await fetchval(url, "SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with open_database(publishing) as database:
        await database.ensure_extension()
        spaces = []
        for index in ("one", "other"):
            asked = options("photos", index=index)
            async with open_run(asked, publishing, "test") as run:
                spaces.append(await create_table(run))

        async def show_other() -> None:
            async with database.transaction() as connection:
                await view.show_space(connection, spaces[1], "public")

        async with database.transaction() as connection:
            await view.show_space(connection, spaces[0], "public")
            showing = asyncio.create_task(show_other())
            await until(publication_waits)
        await showing
    assert await fetchval(url, "SELECT count(*) FROM pg_proc WHERE proname = 'find_similar'") == 1


async def test_a_first_run_of_another_space_does_not_wait_for_a_publication(
    publishing: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    async with (
        open_run(options(bucket.name, dimension=256), publishing, "test") as run,
        open_database(publishing) as database,
        database.transaction() as connection,
    ):
        await view.hold_index(connection, run.options.index)
        # It would keep what the publication needs next, and each would wait for the other.
        await asyncio.wait_for(create_table(run), 30)


async def test_a_slow_reader_keeps_a_change_of_space_waiting_and_no_other_reader(
    publishing: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "READERS_WAIT", "100ms")
    monkeypatch.setattr(view, "PAUSE_FOR_READERS_SECONDS", 0.1)
    monkeypatch.setattr(view, "ATTEMPTS_TO_REPLACE", 1_000)
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    slow = await asyncpg.connect(url)
    transaction = slow.transaction()
    await transaction.start()
    assert await slow.fetch(DIMENSION) == [(128,)]

    async def view_is_waited_for() -> bool:
        return bool(await fetchval(url, f"SELECT EXISTS ({WAITED_FOR})"))

    changing = asyncio.create_task(sync(publishing, bucket.name, dimension=256))
    try:
        await until(view_is_waited_for)
        for _ in range(3):
            assert await fetch(url, DIMENSION) == [(128,)]
        assert not changing.done()
    finally:
        await transaction.rollback()
        await slow.close()
        await changing
    assert await fetch(url, DIMENSION) == [(256,)]


async def test_a_reader_that_waits_for_a_change_of_space_is_answered_by_what_it_brought(
    publishing: Settings, bucket: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced, answered = asyncio.Event(), asyncio.Event()
    comment_view = view._comment_view

    async def pause(*arguments: Any) -> None:
        replaced.set()
        await answered.wait()
        await comment_view(*arguments)

    async def reader_waits() -> bool:
        return bool(await fetchval(url, f"SELECT EXISTS ({WAITED_FOR})"))

    bucket.put_pictures(3)
    await sync(publishing, bucket.name)
    # The new space lacks the content that the image had before.
    bucket.put("0000.png", picture(99))
    monkeypatch.setattr(view, "_comment_view", pause)
    changing = asyncio.create_task(sync(publishing, bucket.name, dimension=256))
    await replaced.wait()
    reading = asyncio.create_task(fetch(url, "SELECT image_id FROM find_similar('0000.png')"))
    await until(reader_waits)
    answered.set()
    await changing
    assert sorted(await reading) == [("0001.png",), ("0002.png",)]


async def test_a_function_of_that_name_that_somebody_else_made_is_left_alone(
    publishing: Settings, bucket: LocalBucket, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(
        url,
        "CREATE FUNCTION find_similar(text, integer, text, text) RETURNS text LANGUAGE sql"
        " AS $$ SELECT 'mine' $$",
    )
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    assert "exists and is not birdwalk's: it was left alone" in caplog.text
    assert await fetchval(url, "SELECT find_similar('a', 1, '', '')") == "mine"
    await check_shown(publishing, url, contents(bucket))
