"""An index whose view an admin gave to another role, under a publisher who is no superuser."""

import re
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from tasks.core.runs.space import find_space

from tasks.core.errors import DatabaseError
from tasks.core.maintenance import drop_space
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tasks.core.spaces import view
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, secret
from tests.support.model_server import ModelServer
from tests.support.sync import options, sync

OWNER_AND_READERS = """
SELECT relowner::regrole::text, has_table_privilege($1::text, oid, 'SELECT'),
    has_table_privilege('pg_monitor', oid, 'SELECT')
FROM pg_class WHERE oid = 'image_embeddings'::regclass
"""


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
    await execute(bare_database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
async def owner(bare_database_url: str) -> AsyncIterator[str]:
    """A role that may create nothing in the schema public."""
    role = f"owner_{secrets.token_hex(4)}"
    await execute(bare_database_url, f"CREATE ROLE {role}")
    yield role
    await execute(bare_database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def publishing(settings: Settings, bare_database_url: str, publisher: str) -> Settings:
    """The settings of the publisher."""
    address = bare_database_url.replace("postgres@", f"{publisher}@")
    return settings.model_copy(update={"database_url": secret(address)})


async def test_a_view_that_is_another_roles_is_published_again_without_its_comment(
    publishing: Settings,
    bucket: LocalBucket,
    bare_database_url: str,
    owner: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", view.__name__)
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(bare_database_url, f"ALTER VIEW image_embeddings OWNER TO {owner}")
    await sync(publishing, bucket.name)
    assert caplog.text == ""
    await execute(bare_database_url, "UPDATE birdwalk.spaces SET ef_search = 123")
    await sync(publishing, bucket.name)
    assert "public.image_embeddings is not up to date" in caplog.text
    assert "SET hnsw.ef_search = 123 " in caplog.text


@pytest.mark.parametrize("remedy", ["ALTER VIEW", "GRANT"])
async def test_a_view_that_may_not_be_replaced_stops_the_run_before_a_call_and_says_what_helps(
    publishing: Settings,
    bucket: LocalBucket,
    bare_database_url: str,
    publisher: str,
    owner: str,
    model_server: ModelServer,
    remedy: str,
) -> None:
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(bare_database_url, f"ALTER VIEW image_embeddings OWNER TO {owner}")
    await model_server.reset()
    said = f'View public."image_embeddings" belongs to {owner}, so {publisher} may not replace it'
    with pytest.raises(DatabaseError, match=re.escape(said)) as refused:
        await sync(publishing, bucket.name, dimension=256)
    assert await model_server.calls() == 0
    spaces_left = "SELECT dimension, status FROM birdwalk.spaces"
    assert await fetch(bare_database_url, spaces_left) == [(128, "active")]
    # Given away while a run embeds.
    async with open_run(options(bucket.name), publishing, "test") as run:
        space = await find_space(run)
        async with run.database.transaction() as connection:
            with pytest.raises(DatabaseError, match=re.escape(said)):
                await view.activate(connection, space)
    with pytest.raises(DatabaseError, match=re.escape(said)):
        await drop_space.drop_index(publishing, "image_embeddings")
    [statement] = re.findall(f"{remedy}[^;]*;", str(refused.value))
    await execute(bare_database_url, statement)
    done = await sync(publishing, bucket.name, dimension=256)
    assert done.space.status == "active"


async def test_nobody_is_told_to_become_a_superuser_for_a_view(
    publishing: Settings, bucket: LocalBucket, bare_database_url: str, publisher: str
) -> None:
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(bare_database_url, "ALTER VIEW image_embeddings OWNER TO CURRENT_USER")
    with pytest.raises(DatabaseError, match=r"ALTER VIEW .* OWNER TO") as refused:
        await sync(publishing, bucket.name, dimension=256)
    assert "GRANT" not in str(refused.value)
    await execute(bare_database_url, f"ALTER VIEW image_embeddings OWNER TO {publisher}")


async def test_a_view_that_cannot_be_given_back_stays_with_its_publisher_and_its_grants(
    publishing: Settings,
    bucket: LocalBucket,
    bare_database_url: str,
    publisher: str,
    owner: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", view.__name__)
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(
        bare_database_url,
        f"GRANT SELECT ON image_embeddings TO PUBLIC; GRANT {owner} TO {publisher};"
        f" ALTER VIEW image_embeddings OWNER TO {owner}",
    )
    done = await sync(publishing, bucket.name, dimension=256)
    assert done.space.status == "active"
    assert f"belonged to {owner} and belongs to who published it now" in caplog.text
    assert await fetch(bare_database_url, OWNER_AND_READERS, owner) == [(publisher, True, True)]
