"""What a publication shows of each image, and what it leaves as it was."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tasks.core.errors import InvalidIndexName, SpaceBusy
from tasks.core.publishing.publish import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.answering_storage import Answer, Request, answering_storage
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import finish, load, options, prepare, sync
from tests.support.truth import check_shown, contents, row_versions
from tests.support.watching import state_of

COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'image_embeddings'::regclass AND attnum > 0 ORDER BY attnum
"""
VIEW = "SELECT oid, xmin::text FROM pg_class WHERE oid = 'image_embeddings'::regclass"
MERGED = "SELECT image_id, generation FROM image_embeddings ORDER BY image_id"


async def test_readers_see_the_columns_they_were_promised(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    blob = bucket.client.bucket(bucket.name).blob("0001.png")
    blob.metadata = {"photographer": "Köln ✈"}
    blob.upload_from_string(picture(1), content_type="image/png")
    await sync(settings, bucket.name)
    assert await fetch(url, COLUMNS) == [
        ("image_id", "text"),
        ("content", "text"),
        ("embedding", "vector"),
        ("bucket", "text"),
        ("generation", "bigint"),
        ("model", "text"),
        ("size", "bigint"),
        ("content_type", "text"),
        ("updated", "timestamp with time zone"),
        ("metadata", "jsonb"),
    ]
    rows = await fetch(url, "SELECT * FROM image_embeddings ORDER BY image_id")
    blob.reload()
    assert [row[0] for row in rows] == ["0000.png", "0001.png"]
    assert rows[1][1] == f"gs://{bucket.name}/0001.png"
    assert rows[1][3:9] == (
        bucket.name,
        blob.generation,
        "multimodalembedding@001",
        len(picture(1)),
        "image/png",
        blob.updated,
    )
    assert [json.loads(row[9] or "null") for row in rows] == [None, blob.metadata]


def listed(**fields: Any) -> dict[str, Any]:
    """Return an object as a listing tells it."""
    name = fields.get("name", "a.png")
    return {
        "name": name,
        "size": "9",
        "generation": "5",
        "crc32c": "AAAAAA==",
        "md5Hash": name,
        "contentType": "image/png",
        "updated": "2026-01-02T03:04:05Z",
        **fields,
    }


def bucket_of(items: list[dict[str, Any]]) -> Callable[[Request], Answer]:
    """Return what a bucket of these objects answers, as they are at the time; None is left out."""

    def answer(request: Request) -> Answer:
        told = [{name: said for name, said in one.items() if said is not None} for one in items]
        by_path = {f"/o/{one['name']}": one for one in told}
        found = by_path.get(request.path[request.path.rindex("/o") :])
        return 200, found or {"items": told}

    return answer


async def test_a_change_of_metadata_alone_reaches_readers_and_costs_no_call(
    settings: Settings, model_server: ModelServer, url: str
) -> None:
    await model_server.configure(instant=True)
    items: list[dict[str, Any]] = []
    said = """
    SELECT image_id, size, content_type, updated, metadata ->> 'k',
        (SELECT content_encoding FROM birdwalk.images_1 WHERE image_id = shown.image_id)
    FROM image_embeddings AS shown ORDER BY image_id
    """
    with answering_storage(bucket_of(items)) as server:
        settings = settings.model_copy(update={"storage_endpoint": server.endpoint})
        items[:] = [listed(name="a.png"), listed(name="b.png", metadata={"k": "1"})]
        await sync(settings, "photos")
        before = await fetch(url, "SELECT image_id, xmin::text FROM birdwalk.images_1 ORDER BY 1")
        await model_server.reset()
        changes: tuple[dict[str, Any], ...] = (
            {"metadata": {"k": "2"}},
            {"updated": "2026-02-02T03:04:05Z"},
            {"contentType": "image/x-png"},
            {"contentEncoding": "gzip"},
        )
        for change in changes:
            items[1] |= change
            synced = await sync(settings, "photos")
            assert (synced.plan.unchanged, synced.plan.calls) == (2, 0)
            assert (synced.published.changed, synced.published.removed) == (1, 0), change
    assert await model_server.calls() == 0
    moments = [datetime.fromisoformat(f"2026-0{month}-02T03:04:05Z") for month in (1, 2)]
    assert await fetch(url, said) == [
        ("a.png", 9, "image/png", moments[0], None, None),
        ("b.png", 9, "image/x-png", moments[1], "2", "gzip"),
    ]
    after = await fetch(url, "SELECT image_id, xmin::text FROM birdwalk.images_1 ORDER BY 1")
    assert after[0] == before[0]


async def test_composite_objects_never_share_a_vector(
    settings: Settings, model_server: ModelServer, url: str
) -> None:
    """Their listing has no md5; crc32c and size may be equal where the bytes are not."""
    await model_server.configure(instant=True)
    items = [listed(name=name, md5Hash=None) for name in ("a.png", "b.png")]

    with answering_storage(bucket_of(items)) as server:
        settings = settings.model_copy(update={"storage_endpoint": server.endpoint})
        assert (await sync(settings, "photos")).total("calls") == 2
        items[0]["generation"] = "6"
        again = await sync(settings, "photos")
        assert (again.plan.images("changed"), again.total("calls")) == (1, 1)
        # The same name and version of another bucket is another object.
        assert (await sync(settings, "photos-2")).total("calls") == 2
    keys = "SELECT count(*), count(DISTINCT content_key) FROM birdwalk.images_1"
    assert await fetch(url, keys) == [(4, 4)]


async def test_a_changed_image_keeps_what_it_had_until_the_new_is_published(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    before, old = contents(bucket), await fetch(url, MERGED)
    first = await state_of(url)
    for number in (1, 2):
        bucket.put(f"000{number}.png", picture(90 + number))
    bucket.put("0003.png", b"not a picture any more")
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        # One gets no answer about what was listed: it is left for the next run.
        bucket.put("0002.png", picture(95))
        (counts,) = await load(run)
        assert (counts.embedded, counts.refused, counts.leftover) == (1, 1, 1)
        assert await state_of(url) == first
        _, _, published = await finish(run)
    assert (published.images, published.changed, published.removed) == (4, 2, 0)
    shown = {**before, f"gs://{bucket.name}/0001.png": picture(91)}
    shown.pop(f"gs://{bucket.name}/0003.png")
    await check_shown(settings, url, shown)
    new = dict(await fetch(url, MERGED))
    assert new["0002.png"] == dict(old)["0002.png"]
    assert new["0001.png"] == bucket.generation("0001.png")
    # What is refused comes back with a picture, and what was left is asked for.
    bucket.put("0003.png", picture(3))
    assert (await sync(settings, bucket.name)).total("calls") == 1
    await check_shown(settings, url, contents(bucket))


async def test_publishing_again_touches_nothing_and_a_dropped_view_comes_back(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name)
    before, rows = await fetch(url, VIEW), await row_versions(url)
    await sync(settings, bucket.name)
    assert await fetch(url, VIEW) == before
    assert await row_versions(url) == rows
    await execute(url, "DROP VIEW image_embeddings")
    await sync(settings, bucket.name)
    await check_shown(settings, url, contents(bucket))


async def test_a_run_that_is_over_cannot_publish(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    """As one that slept, and whose space another run has had since (sync.md, N2)."""
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    bucket.delete("0000.png")
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        await execute(
            url, "UPDATE birdwalk.runs SET verdict = 'failed' WHERE run_id = $1", run.run_id
        )
        with pytest.raises(SpaceBusy, match=f"Run {run.run_id} is over"):
            await publish(run)
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 3


@pytest.mark.parametrize(
    "index",
    [
        "quotes \" and ' inside",
        "x'; DROP SCHEMA birdwalk CASCADE; --",
        '"; DROP VIEW other; --',
        "Köln ✈",
        "UPPER Case",
        "select",
        "{table}",
        "i" * 63,
    ],
)
async def test_any_name_that_postgres_can_hold_works_as_an_index(
    settings: Settings, bucket: LocalBucket, url: str, index: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name, index="other")
    await sync(settings, bucket.name, index=index)
    done = await sync(settings, bucket.name, index=index, dimension=256)
    assert done.space.index == index
    views = await fetch(url, "SELECT viewname FROM pg_views WHERE schemaname = 'public'")
    assert sorted(name for (name,) in views) == sorted([index, "other"])
    quoted = await fetchval(url, "SELECT quote_ident($1)", index)
    assert await fetchval(url, f"SELECT count(*) FROM public.{quoted}") == 3  # noqa: S608 - quoted
    found = "SELECT count(*) FROM find_similar('0001.png', 9, index => $1)"
    assert await fetchval(url, found, index) == 2


@pytest.mark.parametrize("index", ["i" * 64, "Köln" * 13, "", "nul\0inside"])
async def test_a_name_that_postgres_would_cut_is_refused(bucket: LocalBucket, index: str) -> None:
    with pytest.raises(InvalidIndexName, match="expected 1 to 63 bytes"):
        options(bucket.name, index=index)
