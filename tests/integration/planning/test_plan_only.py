"""A plan spends nothing and changes nothing that anybody sees afterwards."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.core.errors import GuardStopped
from tasks.core.planning import plan_sync
from tasks.core.reports.plan import plan_markdown
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tasks.core.types import SyncPlan
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, secret
from tests.support.model_server import ModelServer
from tests.support.sync import die_with_parts, dying_run, options, prepare, sync

Tables = dict[str, list[tuple[Any, ...]]]


async def tables(url: str, but: tuple[str, ...] = ("runs",)) -> Tables:
    """Return the rows of birdwalk's tables, and who wrote each."""
    found = await fetch(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'birdwalk'")
    names = sorted(name for (name,) in found if name not in but)
    return {
        name: await fetch(url, f"SELECT xmin::text, t::text FROM birdwalk.{name} AS t ORDER BY 2")  # noqa: S608 - ours
        for name in names
    }


async def plan_only(settings: Settings, bucket: str, **changes: object) -> SyncPlan:
    """Do what the flow does for plan_only, and what Prefect's retries of its tasks do."""
    asked = options(bucket, plan_only=True, **changes)
    async with open_run(asked, settings, "test") as run:
        made = await prepare(run)
        assert await prepare(run) == made
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
    assert (made.images("new"), made.images("changed"), made.gone, made.indexed) == (1, 1, 1, 6)
    for changes in ({"prefix": "000"}, {"limit": 1}, {"dimension": 256}, {"retry_refused": True}):
        await plan_only(settings, bucket.name, **changes)
    assert await tables(url) == before
    assert await model_server.calls() == 0
    verdicts = "SELECT verdict, count(*) FROM birdwalk.runs GROUP BY verdict"
    assert await fetch(url, verdicts) == [("completed", 6)]
    # The next run makes the same plan.
    async with open_run(options(bucket.name, batch_size=10), settings, "test") as run:
        assert await prepare(run) == made


async def test_a_plan_for_an_index_that_is_not_there_leaves_none(
    settings: Settings, bucket: LocalBucket, url: str, bare_database_url: str
) -> None:
    bucket.put_pictures(3)
    before = await tables(url)
    made = await plan_only(settings, bucket.name)
    assert (made.images("new"), made.calls, made.indexed) == (3, 3, 0)
    assert await tables(url) == before
    bare = settings.model_copy(update={"database_url": secret(bare_database_url)})
    assert await plan_only(bare, bucket.name) == made
    assert await tables(bare_database_url, ("runs", "schema_version")) == {
        name: [] for name in before if name != "schema_version"
    }


async def test_a_plan_counts_what_killed_runs_have_paid_for_and_what_other_indexes_have(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    bucket.put("broken.png", b"no picture")
    await sync(settings, bucket.name, index="another")
    for number in (40, 41, 42):
        bucket.put(f"{number}.png", picture(number))
    await die_with_parts(settings, bucket.name)
    bucket.put("copy.png", picture(40))  # has the content of one that waits
    bucket.put("new.png", picture(50))
    await model_server.reset()
    before = await tables(url)
    # The dead run took over what the other index had, and nobody was shown it.
    made = await plan_only(settings, bucket.name)
    assert (made.recovered, made.taken_over, made.calls) == (3, 0, 1)
    assert (made.images("moved or copied"), made.images("refused before")) == (8, 1)
    page = plan_markdown(made, options(bucket.name, plan_only=True))
    assert "3 vectors that a dead run had paid for: would be taken, without a call" in page
    third = await plan_only(settings, bucket.name, index="a third")
    assert (third.recovered, third.taken_over, third.calls) == (0, 4, 4)
    assert third.images("refused before") == 1
    assert await tables(url) == before
    assert await model_server.calls() == 0
    synced = await sync(settings, bucket.name)
    assert synced.plan == made
    assert (synced.total("calls"), await model_server.calls()) == (1, 1)


async def test_a_plan_waits_for_no_run_and_keeps_none_out(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(3)
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        assert replace(await plan_only(settings, bucket.name), guards=()) == replace(
            made, guards=()
        )
    async with open_run(options(bucket.name, plan_only=True), settings, "test") as planning:
        await prepare(planning)
        assert (await sync(settings, bucket.name)).total("calls") == 3


def fail(*_arguments: object) -> None:
    raise RuntimeError


@pytest.mark.parametrize(
    ("step", "instead"), [("_price", fail), ("_guard_price", fail)], ids=["comparing", "judging"]
)
async def test_a_plan_that_raises_leaves_nothing(
    settings: Settings,
    bucket: LocalBucket,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    instead: Callable[..., None],
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    before = await tables(url)
    monkeypatch.setattr(plan_sync, step, instead)
    with pytest.raises(RuntimeError):
        await plan_only(settings, bucket.name)
    assert await tables(url) == before


async def test_a_guard_stops_a_plan_too_and_nothing_is_left_of_it(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    before = await tables(url)
    with pytest.raises(GuardStopped, match="cost about"):
        await plan_only(settings, bucket.name, max_price=0.0001)
    assert await tables(url) == before
    said = "SELECT verdict, message ~ 'max_price' FROM birdwalk.runs"
    assert await fetch(url, said) == [("failed", True)]


async def test_what_a_killed_plan_leaves_is_seen_by_nobody_and_gone_with_the_next_run(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    first = await sync(settings, bucket.name)
    before = await tables(url)
    async with dying_run(settings, bucket.name, plan_only=True) as run:
        bucket.put("new.png")
        await prepare(run)
    left = await tables(url)
    assert {name for name in left if left[name] != before.get(name)} == {"listings"}
    bucket.delete("new.png")
    second = await sync(settings, bucket.name)
    assert (second.plan.unchanged, second.plan.calls) == (3, 0)
    runs = "SELECT run_id, plan_only, verdict FROM birdwalk.runs ORDER BY run_id"
    assert await fetch(url, runs) == [
        (first.run_id, False, "completed"),
        (run.run_id, True, "failed"),
        (second.run_id, False, "completed"),
    ]
    listed = "SELECT DISTINCT run_id FROM birdwalk.listings"
    assert await fetch(url, listed) == [(second.run_id,)]
