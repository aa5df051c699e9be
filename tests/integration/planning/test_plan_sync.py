"""A sync knows what it will ask for before it asks, and what becomes of each image."""

from collections.abc import Callable

import pytest

from tasks.core.errors import UnknownImage
from tasks.core.planning.plan_sync import plan_sync
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import Synced, options, prepare, sync
from tests.support.truth import check_shown, contents, row_versions

WORK = "SELECT batch, image_id FROM birdwalk.work ORDER BY batch, image_id"
BROKEN = b"this is no picture"

Change = Callable[[LocalBucket], object]


def put(name: str, number: int) -> Change:
    return lambda bucket: bucket.put(name, picture(number))


def spoil(*names: str) -> Change:
    return lambda bucket: [bucket.put(name, BROKEN) for name in names]


def delete(name: str) -> Change:
    return lambda bucket: bucket.delete(name)


def rename(name: str, new: str) -> Change:
    return lambda bucket: bucket.rename(name, new)


def both(*changes: Change) -> Change:
    return lambda bucket: [change(bucket) for change in changes]


CALLED = {"new", "changed"}
CHANGES: dict[str, tuple[list[Change], dict[str, int]]] = {
    "nothing": ([both()], {"refused before": 1}),
    "a new picture": ([put("a.png", 90)], {"new": 1, "refused before": 1}),
    "another picture": ([put("0002.png", 90)], {"changed": 1, "refused before": 1}),
    "renamed": (
        [rename("0000.png", "z/0.png")],
        {"moved or copied": 1, "gone": 1, "refused before": 1},
    ),
    "copied": ([put("a.png", 0)], {"moved or copied": 1, "refused before": 1}),
    "ten copies of a new picture": (
        [lambda bucket: bucket.put_all([f"{number}.png" for number in range(10)], picture(90))],
        {"new": 1, "moved or copied": 9, "refused before": 1},
    ),
    "swapped": (
        [both(put("0000.png", 1), put("0001.png", 0))],
        {"moved or copied": 2, "refused before": 1},
    ),
    "moved away, and another in its place": (
        [both(put("a.png", 0), put("0000.png", 90))],
        {"moved or copied": 1, "changed": 1, "refused before": 1},
    ),
    "written again": ([put("0000.png", 0)], {"rewritten": 1, "refused before": 1}),
    "deleted": ([delete("0003.png")], {"gone": 1, "refused before": 1}),
    "restored": (
        [delete("0003.png"), put("0003.png", 3)],
        {"moved or copied": 1, "refused before": 1},
    ),
    "changed, and back": (
        [put("0003.png", 90), put("0003.png", 3)],
        {"moved or copied": 1, "refused before": 1},
    ),
    "copies of what was refused": ([spoil("a.png", "0000.png")], {"refused before": 3}),
    "a known picture in the place of a refused one": (
        [put("broken.png", 1)],
        {"moved or copied": 1},
    ),
    "a new picture in the place of a refused one": ([put("broken.png", 90)], {"new": 1}),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_costs_what_its_bytes_demand_and_the_plan_says_so_before(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str, what: str
) -> None:
    bucket.put_pictures(5)
    bucket.put("broken.png", BROKEN)
    steps, expected = CHANGES[what]
    await sync(settings, bucket.name)
    for change in steps:
        change(bucket)
        await model_server.reset()
        synced = await sync(settings, bucket.name)
        calls = await model_server.calls()
    made = synced.plan
    assert {one.kind: one.images for one in made.changes if one.images} == expected
    assert {one.kind: one.calls for one in made.changes if one.calls} == {
        kind: images for kind, images in expected.items() if kind in CALLED
    }
    assert made.unchanged == made.listed - sum(expected.values()) + expected.get("gone", 0)
    assert calls == made.calls == synced.total("calls") == synced.total("answers")
    assert synced.published.removed == expected.get("gone", 0)
    present = contents(bucket)
    pictures = {address: data for address, data in present.items() if data != BROKEN}
    await check_shown(settings, url, pictures)
    assert synced.published.images == synced.verdict.images == len(pictures)
    await check_quiet(settings, bucket, model_server, url)


async def check_quiet(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> Synced:
    """Let pass where a further run makes no call and writes no row that readers could see."""
    before = await row_versions(url)
    await model_server.reset()
    quiet = await sync(settings, bucket.name)
    assert await model_server.calls() == quiet.plan.calls == 0
    assert quiet.plan.unchanged == quiet.listing.images - quiet.plan.images("refused before")
    assert (quiet.published.changed, quiet.published.removed) == (0, 0)
    assert quiet.plan.batches == ()
    assert await row_versions(url) == before
    return quiet


async def test_a_first_run_plans_every_content_once_in_numbered_batches(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    names = bucket.put_pictures(23)
    bucket.put("copy.png", picture(22))
    made = await prepare(run)
    assert (made.listed, made.images("new"), made.calls, made.unchanged) == (24, 23, 23, 0)
    assert made.price == pytest.approx(0.0023)
    assert [(batch.first, batch.last) for batch in made.batches] == [(1, 10), (11, 20), (21, 23)]
    work = [(1 + number // 10, name) for number, name in enumerate(names)]
    assert await fetch(url, WORK) == work
    # What Prefect's retry of the task does.
    assert await plan_sync(run) == made
    assert await fetch(url, WORK) == work


async def test_only_the_runs_own_work_is_kept(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    for _ in range(3):
        async with open_run(options(bucket.name), settings, "test") as run:
            await prepare(run)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.work") == 3
    assert await fetchval(url, "SELECT count(DISTINCT run_id) FROM birdwalk.work") == 1


async def test_a_listed_query_image_is_accepted_before_it_is_embedded(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(3)
    async with open_run(options(bucket.name, query="0002.png"), settings, "test") as run:
        assert (await prepare(run)).images("new") == 3


@pytest.mark.parametrize("known", [False, True])
async def test_an_unknown_query_image_is_refused_before_any_call_and_a_close_name_said(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, *, known: bool
) -> None:
    bucket.put_all(["planes/jet.png", "planes/glider.png", "birds/owl.png"])
    if known:
        await sync(settings, bucket.name)
    await model_server.reset()
    said = r"'jet\.png' is not in index 'image_embeddings'.*Did you mean 'planes/jet\.png'"
    with pytest.raises(UnknownImage, match=said):
        async with open_run(options(bucket.name, query="jet.png"), settings, "test") as run:
            await prepare(run)
    assert await model_server.calls() == 0
