"""What cannot work is said at once and clearly, and costs and loses nothing."""

import io
import secrets
from collections.abc import AsyncIterator
from types import SimpleNamespace
from urllib.parse import urlsplit, urlunsplit

import pytest
from PIL import Image

from deployments.local.stack import Stack
from tasks.core.errors import (
    BucketForbidden,
    BucketNotFound,
    DatabaseError,
    ExtensionMissing,
    NothingToEmbed,
)
from tasks.core.runs import outages
from tasks.core.settings import Settings
from tests.support.answering_storage import answering_storage, forbidden
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, secret
from tests.support.model_server import ModelServer
from tests.support.sync import sync

REFUSALS = """
SELECT image_id, reason
FROM birdwalk.refusals JOIN birdwalk.listings USING (content_key) ORDER BY image_id
"""

# The list of what a server offers is a view, and this database's own.
WITHDRAW_PGVECTOR = """
SET allow_system_table_mods = on;
DO $$ BEGIN EXECUTE
    'CREATE OR REPLACE VIEW pg_catalog.pg_available_extensions AS SELECT * FROM ('
    || rtrim(pg_get_viewdef('pg_available_extensions'::regclass), ';')
    || ') AS offered WHERE name <> ' || quote_literal('vector');
END $$
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot work is not waited for."""

    async def sleep(seconds: float) -> None:
        pytest.fail(f"a pause of {seconds} s was made")

    monkeypatch.setattr(outages, "asyncio", SimpleNamespace(sleep=sleep))


async def nothing_was_done(url: str) -> bool:
    return await fetch(url, "SELECT verdict, calls FROM birdwalk.runs") == [("failed", 0)]


async def test_a_missing_bucket(settings: Settings, url: str, model_server: ModelServer) -> None:
    with pytest.raises(BucketNotFound, match=r"Bucket 'no-such-bucket' does not exist\. Check"):
        await sync(settings, "no-such-bucket")
    assert await nothing_was_done(url)
    assert await model_server.calls() == 0


async def test_an_empty_bucket(settings: Settings, bucket: LocalBucket, url: str) -> None:
    with pytest.raises(NothingToEmbed, match=rf"gs://{bucket.name}/ holds no image.*0 objects"):
        await sync(settings, bucket.name)
    assert await nothing_was_done(url)


async def test_a_prefix_that_matches_nothing(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    with pytest.raises(NothingToEmbed, match=rf"gs://{bucket.name}/planes/ holds no image.*prefix"):
        await sync(settings, bucket.name, prefix="planes/")
    assert await nothing_was_done(url)


async def test_a_bucket_without_images(settings: Settings, bucket: LocalBucket) -> None:
    bucket.put("notes.txt", b"notes", "text/plain")
    bucket.put("photo.webp", b"RIFF", "image/webp")
    said = r"2 objects \(.*1 not an image.*\)\. Expected \.bmp, \.gif, \.jpeg, \.jpg, \.png files"
    with pytest.raises(NothingToEmbed, match=said):
        await sync(settings, bucket.name)


async def test_a_bucket_that_may_not_be_listed(
    settings: Settings, url: str, model_server: ModelServer
) -> None:
    with answering_storage(forbidden) as server:
        closed = settings.model_copy(update={"storage_endpoint": server.endpoint})
        with pytest.raises(BucketForbidden, match=r"'private'.*roles/storage\.objectViewer"):
            await sync(closed, "private")
    assert await nothing_was_done(url)
    assert await model_server.calls() == 0


def encoded(file_format: str) -> bytes:
    """Return a picture in a format that the model does not read."""
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(data, file_format)
    return data.getvalue()


async def test_objects_that_are_no_images_are_refused_one_by_one_and_the_rest_embedded(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    good = bucket.put_pictures(5)
    bad = {
        "text.jpg": b"this is not a picture",
        "cut.png": picture(50)[:100],
        "cut.jpg": picture(51, "JPEG")[:200],
        "webp-inside.png": encoded("WEBP"),
        "tiff-inside.jpg": encoded("TIFF"),
    }
    for name, data in bad.items():
        bucket.put(name, data, "image/jpeg" if name.endswith("jpg") else "image/png")
    bucket.put("empty.png", b"")
    bucket.put("large.png", bytes(20_000_001))
    bucket.put("photo.webp", encoded("WEBP"), "image/webp")
    bucket.put("scan.tiff", encoded("TIFF"), "image/tiff")
    done = await sync(settings, bucket.name)
    assert sum(done.listing.skipped.values()) == 4
    assert (done.total("embedded"), done.total("refused"), done.verdict.images) == (5, 5, 5)
    refused = await fetch(url, REFUSALS)
    assert [name for name, _ in refused] == sorted(bad)
    assert all(reason.startswith("Image embedding failed") for _, reason in refused)
    shown = await fetch(url, "SELECT image_id FROM image_embeddings ORDER BY image_id")
    assert [name for (name,) in shown] == good
    assert await model_server.calls() == 10


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("/test_", "/no_such_database_"), ("postgres@", "nobody_of_this_name@")],
    ids=["database", "role"],
)
async def test_a_database_or_role_that_does_not_exist(
    settings: Settings, url: str, part: str, wrong: str
) -> None:
    broken = settings.model_copy(update={"database_url": secret(url.replace(part, wrong))})
    with pytest.raises(DatabaseError, match=f"{wrong.strip('/@')}.*BIRDWALK_DATABASE_URL"):
        await sync(broken, "photos")


async def test_a_wrong_password_is_said_at_once_and_a_password_in_no_message(
    settings: Settings, stack: Stack
) -> None:
    parts = urlsplit(stack.addresses.database_tcp_url)
    place = parts.netloc.rpartition("@")[2]
    wrong = urlunsplit(parts._replace(netloc=f"postgres:hunter2@{place}"))
    told = settings.model_copy(update={"database_url": secret(wrong)})
    with pytest.raises(DatabaseError, match="refused the connection: password auth") as caught:
        await sync(told, "photos")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(told)


@pytest.fixture
async def poor_role(bare_database_url: str) -> AsyncIterator[str]:
    """A role that may log in, and create nothing."""
    role = f"poor_{secrets.token_hex(4)}"
    await execute(bare_database_url, f"CREATE ROLE {role} LOGIN")
    yield role
    await execute(bare_database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_role_that_may_create_nothing(
    settings: Settings, bare_database_url: str, poor_role: str
) -> None:
    poor = secret(bare_database_url.replace("postgres@", f"{poor_role}@"))
    with pytest.raises(DatabaseError, match=r"may not do this: .*It needs CREATE on the database"):
        await sync(settings.model_copy(update={"database_url": poor}), "photos")


async def test_a_role_that_may_not_create_the_extension(
    settings: Settings, bucket: LocalBucket, bare_database_url: str, poor_role: str
) -> None:
    bucket.put_pictures(1)
    database = urlsplit(bare_database_url).path[1:]
    await execute(bare_database_url, f"GRANT CREATE ON DATABASE {database} TO {poor_role}")
    poor = secret(bare_database_url.replace("postgres@", f"{poor_role}@"))
    said = r'(?s)may not do this: .*extension "vector".*cloudsqlsuperuser'
    with pytest.raises(DatabaseError, match=said):
        await sync(settings.model_copy(update={"database_url": poor}), bucket.name)


async def test_a_server_that_does_not_offer_pgvector(
    settings: Settings, bucket: LocalBucket, bare_database_url: str
) -> None:
    bucket.put_pictures(1)
    await execute(bare_database_url, WITHDRAW_PGVECTOR)
    without = settings.model_copy(update={"database_url": secret(bare_database_url)})
    with pytest.raises(ExtensionMissing, match=r"does not offer the vector extension\. Install"):
        await sync(without, bucket.name)


async def test_a_pgvector_that_is_too_old(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(1)
    await execute(url, "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    with pytest.raises(ExtensionMissing, match=r"pgvector is 0\.7\.4; 0\.8\.0 or later.*ALTER"):
        await sync(settings, bucket.name)
