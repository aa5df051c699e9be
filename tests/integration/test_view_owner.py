"""An index whose view an admin gave to another role, under a publisher who is no superuser."""

import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from tasks.core import spaces
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, secret
from tests.support.sync import sync


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
    caplog.set_level("WARNING", spaces.__name__)
    bucket.put_pictures(2)
    await sync(publishing, bucket.name)
    await execute(bare_database_url, f"ALTER VIEW image_embeddings OWNER TO {owner}")
    await sync(publishing, bucket.name)
    assert caplog.text == ""
    await execute(bare_database_url, "UPDATE birdwalk.spaces SET ef_search = 123")
    await sync(publishing, bucket.name)
    assert "public.image_embeddings is not up to date" in caplog.text
    assert "SET hnsw.ef_search = 123 " in caplog.text
