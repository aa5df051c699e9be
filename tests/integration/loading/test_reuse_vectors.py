"""A vector that the space has is reused wherever its content turns up, whatever else changed."""

from tasks.core.database.statements import statements_of
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.space import find_space
from tasks.core.settings import Settings
from tasks.core.spaces.registry import space_table
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync

plan_sync_sql = statements_of("tasks.core.planning.plan_sync")
reuse_vectors_sql = statements_of("tasks.core.loading.reuse_vectors")

ROWS = "SELECT image_id, embedding::text FROM image_embeddings"


async def test_a_picture_moved_away_from_a_name_that_was_overwritten_keeps_its_vector(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("latest.png", picture(1))
    bucket.put("other.png", picture(2))
    await sync(settings, bucket.name)
    before = dict(await fetch(url, ROWS))
    bucket.put("yesterday.png", picture(1))
    bucket.put("latest.png", picture(3))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.calls, await model_server.calls()) == (1, 1)
    after = dict(await fetch(url, ROWS))
    assert after["yesterday.png"] == before["latest.png"] != after["latest.png"]


async def test_pictures_that_swapped_names_swap_vectors_without_a_call(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("a.png", picture(1))
    bucket.put("b.png", picture(2))
    await sync(settings, bucket.name)
    before = dict(await fetch(url, ROWS))
    bucket.put("a.png", picture(2))
    bucket.put("b.png", picture(1))
    await model_server.reset()
    await sync(settings, bucket.name)
    after = dict(await fetch(url, ROWS))
    assert await model_server.calls() == 0
    assert (after["a.png"], after["b.png"]) == (before["b.png"], before["a.png"])


async def test_copies_of_a_picture_that_was_refused_and_then_accepted_are_refused_no_more(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("good.png", picture(1))
    for name in ("a.png", "b.png"):
        bucket.put(name, b"this is no picture")
    await sync(settings, bucket.name)
    await model_server.configure(instant=True)  # a model that has learned to read it
    await model_server.reset()
    synced = await sync(settings, bucket.name, retry_refused=True)
    assert (await model_server.calls(), synced.verdict.rows) == (1, 3)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0


async def test_a_copy_of_a_known_picture_in_the_place_of_a_refused_one_is_refused_no_more(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("good.png", picture(1))
    bucket.put("bad.png", b"this is no picture")
    await sync(settings, bucket.name)
    bucket.put("bad.png", picture(1))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (await model_server.calls(), synced.verdict.rows) == (0, 2)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0


async def test_known_content_is_found_in_the_keys_index_without_reading_vectors(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put("a.png", picture(1))
    await sync(settings, bucket.name)
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        table = space_table(await find_space(run))
        async with run.database.transaction() as connection:
            # Of a table of one page any plan is good: leave only the one that large tables need.
            await connection.execute("SET LOCAL enable_seqscan = off")
            await connection.execute(plan_sync_sql("create_diff"))
            await connection.execute(reuse_vectors_sql("create_copies"))
            for statement, arguments in (
                (plan_sync_sql("mark_known_content", table=table), ()),
                (reuse_vectors_sql("fill_copies", table=table), (run.run_id, bucket.name)),
            ):
                plan = await connection.fetch(f"EXPLAIN {statement}", *arguments)
                scans = [line for (line,) in plan if f"on {table.name}" in line]
                assert scans
                assert [line for line in scans if "Index Only Scan" not in line] == []
