"""A plan spends nothing and changes nothing that anybody sees afterwards."""

from dataclasses import replace

import pytest

from tasks.core.database.connections import open_database
from tasks.core.errors import GuardStopped, UnknownIndex
from tasks.core.maintenance.check_index import HealthLimits, check_index
from tasks.core.maintenance.rollback import list_spaces
from tasks.core.reports.plan import plan_markdown
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tasks.core.types import SyncPlan
from tests.integration.planning.test_dead_runs import die_with_parts
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval, secret
from tests.support.model_server import ModelServer
from tests.support.sharded import kill, start, variables
from tests.support.sync import options, prepare, sync

INDEX = "image_embeddings"
TABLES = ("objects", "pending", "batches", "refusals", "spaces", "space_1")


async def tables(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of birdwalk's tables but the runs."""
    found = await fetch(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'birdwalk'")
    names = sorted(name for (name,) in found if name != "runs")
    return {
        name: await fetch(url, f"SELECT t::text FROM birdwalk.{name} AS t ORDER BY 1")  # noqa: S608 - ours
        for name in names
    }


async def plan_only(settings: Settings, bucket: str, **changes: object) -> SyncPlan:
    """Do what the flow does for plan_only."""
    asked = options(bucket, plan_only=True, **changes)
    async with open_run(asked, settings, "test") as run:
        made = await prepare(run)
        again = await prepare(run)  # what Prefect's retries of the tasks do
        assert made == again
        return made


async def test_a_plan_of_a_synced_index_changes_no_table_and_calls_nobody(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(6)
    bucket.put("broken.png", b"no picture")
    await sync(settings, bucket.name)
    bucket.put("0002.png", picture(60))
    bucket.put("new.png", picture(61))
    bucket.delete("0003.png")
    await model_server.reset()
    before = await tables(url)
    made = await plan_only(settings, bucket.name, batch_size=10)
    assert (made.images("new"), made.images("changed"), made.gone, made.stored) == (1, 1, 1, 6)
    for changes in ({"prefix": "000"}, {"limit": 1}, {"dimension": 256}, {"retry_refused": True}):
        await plan_only(settings, bucket.name, **changes)
    assert await tables(url) == before
    assert await model_server.calls() == 0
    verdicts = "SELECT verdict, count(*) FROM birdwalk.runs GROUP BY verdict"
    assert await fetch(url, verdicts) == [("completed", 6)]
    # The next run makes the same plan.
    async with open_run(options(bucket.name, batch_size=10), settings, "test") as run:
        assert await prepare(run) == made


async def test_a_plan_counts_what_a_dead_run_left_and_leaves_it_for_the_real_run(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name)
    for number in (40, 41, 42):
        bucket.put(f"{number}.png", picture(number))
    await die_with_parts(settings, bucket)
    bucket.put("copy.png", picture(40))  # has the content of one that waits
    await model_server.reset()
    before = await tables(url)
    made = await plan_only(settings, bucket.name)
    assert (made.recovered, made.calls, made.images("duplicate")) == (3, 0, 1)
    page = plan_markdown(made, options(bucket.name, plan_only=True))
    assert "3 vectors that a dead run had paid for: still to be loaded, without a call" in page
    assert await tables(url) == before
    assert await fetchval(url, "SELECT count(*) FROM image_embeddings") == 4
    synced = await sync(settings, bucket.name)
    # The rows that it loaded count as stored in the real one.
    assert replace(synced.plan, stored=made.stored, guards=made.guards) == made
    assert (synced.verdict.rows, await model_server.calls()) == (8, 0)


async def test_a_plan_for_an_index_that_is_not_there_leaves_none(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    made = await plan_only(settings, bucket.name)
    assert (made.images("new"), made.stored) == (3, 0)
    assert all(rows == [] for rows in (await tables(url)).values())
    async with open_database(settings) as database:
        assert await list_spaces(database, INDEX) == ()
        with pytest.raises(UnknownIndex):
            await check_index(database, INDEX, HealthLimits())


async def test_a_plan_works_in_a_database_without_anything(
    settings: Settings, bucket: LocalBucket, bare_database_url: str
) -> None:
    bare = settings.model_copy(update={"database_url": secret(bare_database_url)})
    bucket.put_pictures(3)
    assert (await plan_only(bare, bucket.name)).calls == 3


async def test_a_guard_stops_a_plan_too_and_nothing_is_left_of_it(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    with pytest.raises(GuardStopped, match="cost about"):
        await plan_only(settings, bucket.name, max_price=0.0001)
    assert all(rows == [] for rows in (await tables(url)).values())
    said = "SELECT verdict, message ~ 'max_price' FROM birdwalk.runs"
    assert await fetch(url, said) == [("failed", True)]


async def test_a_plan_is_no_listing_that_makes_an_index_look_fresh(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    await execute(url, "UPDATE birdwalk.runs SET started_at = started_at - interval '9 days'")
    await plan_only(settings, bucket.name)
    async with open_database(settings) as database:
        health = await check_index(database, INDEX, HealthLimits())
    assert [check.name for check in health.failed] == ["every bucket was listed lately"]


async def test_a_plan_that_is_killed_leaves_nothing(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    before = await tables(url)
    killed = await start("plan", bucket.name, 600, 10, environment=variables(settings))
    assert killed.stdout is not None
    assert await killed.stdout.readline()
    await kill(killed, url)
    assert await tables(url) == before
    assert (await sync(settings, bucket.name)).plan.unchanged == 3
