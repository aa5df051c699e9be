"""A guard stops a sync before any call, and again before any removal."""

import re
from typing import Any

import pytest

from tasks.core.errors import GuardStopped
from tasks.core.reports.plan import plan_markdown
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.model_server import ModelServer
from tests.support.sync import finish, load, options, prepare, sync
from tests.support.truth import check_shown, contents, row_versions


@pytest.mark.parametrize(
    ("delete", "changes", "allowed", "message"),
    [
        (4, {"max_deletions": 0.1}, {"max_deletions": 0.4}, "4 of 10 .*max_deletions=0.4"),
        (10, {}, {"allow_empty": True}, "holds no image, while the index has 10.*allow_empty"),
        (
            0,
            {"max_price": 0.0005},
            {"max_price": 0.001},
            r"10 calls cost about \$0.001; at most \$0.0005.*max_price=0.01",
        ),
    ],
    ids=["deletions", "empty listing", "price"],
)
async def test_a_guard_stops_before_any_call_or_removal_and_names_its_parameter(  # noqa: PLR0913, PLR0917 - fixtures and cases
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    url: str,
    delete: int,
    changes: dict[str, object],
    allowed: dict[str, object],
    message: str,
) -> None:
    names = bucket.put_pictures(10)
    if delete:
        await sync(settings, bucket.name)
    for name in names[:delete]:
        bucket.delete(name)
    await model_server.reset()
    before = await row_versions(url)
    with pytest.raises(GuardStopped, match=message):
        await sync(settings, bucket.name, **changes)
    assert await model_server.calls() == 0
    after = await row_versions(url)
    # A first run has made its index, with nothing in it.
    assert after.pop("indexes")
    assert {name: rows for name, rows in after.items() if rows} == {
        name: rows for name, rows in before.items() if rows and name != "indexes"
    }
    synced = await sync(settings, bucket.name, **{**changes, **allowed})
    assert synced.published.images == 10 - delete


@pytest.mark.parametrize(
    ("vanished", "allowed"), [(4, 0.5), (5, 0.6)], ids=["as many as may", "one more"]
)
async def test_what_vanishes_while_the_run_embeds_is_judged_again_before_it_is_removed(
    settings: Settings, bucket: LocalBucket, url: str, vanished: int, allowed: float
) -> None:
    """The listing of a bucket that is emptied meanwhile is no longer what the plan has judged."""
    names = bucket.put_pictures(10)
    await sync(settings, bucket.name)
    before = contents(bucket)
    bucket.delete(names[9])
    for number, name in enumerate(names[:vanished]):
        bucket.put(name, picture(100 + number))
    async with open_run(options(bucket.name, max_deletions=0.5), settings, "test") as run:
        made = await prepare(run)
        assert (made.gone, made.images("changed")) == (1, vanished)
        for name in names[:vanished]:
            bucket.delete(name)
        (counts,) = await load(run)
        assert counts.gone == vanished
        if allowed == 0.5:
            _, _, published = await finish(run)
            assert published.removed == 1 + vanished
            await check_shown(settings, url, contents(bucket))
            return
        said = f"{1 + vanished} images are gone where the plan saw 1: the index was left as it is"
        with pytest.raises(GuardStopped, match=re.escape(said)):
            await finish(run)
    await check_shown(settings, url, before)
    with pytest.raises(GuardStopped, match=r"max_deletions=0\.6"):
        await sync(settings, bucket.name, max_deletions=0.5)
    await sync(settings, bucket.name, max_deletions=allowed)
    await check_shown(settings, url, contents(bucket))


async def test_the_page_shows_counts_examples_price_and_guards(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(10)
    await sync(settings, bucket.name)
    for number in range(4):
        bucket.delete(f"{number:04d}.png")
    bucket.put("a|b`.png", picture(55))
    asked = options(bucket.name, max_deletions=0.1)
    async with open_run(asked, settings, "test") as run:
        with pytest.raises(GuardStopped):
            await prepare(run)
        assert run.plan is not None
        page = plan_markdown(run.plan, asked)
    assert "**1 call, $0.0001, under a second**" in page
    assert "| listed | 7 | 1 | |" in page
    assert "| unchanged | 6 | 0 | nothing |" in page
    assert "| new | 1 | 1 | embedded |" in page
    assert "| gone | 4 | 0 | removed, when the new ones are published |" in page
    assert "- gone: `0000.png`, `0001.png`, `0002.png` ...\n" in page
    assert "- new: `a|b'.png`\n" in page
    assert "| at most 10% of the index is gone | **NO** |" in page
    assert "`max_deletions=0.4` allows it" in page
    assert "| it costs at most $100.00 | yes |" in page


@pytest.mark.parametrize("changes", [{"limit": 2}, {"prefix": "birds/"}], ids=str)
async def test_a_listing_of_a_part_removes_nothing_beside_it(
    settings: Settings, bucket: LocalBucket, url: str, changes: dict[str, Any]
) -> None:
    bucket.put_all(["birds/a.png", "birds/b.png", "planes/a.png", "planes/b.png"])
    await sync(settings, bucket.name)
    before = contents(bucket)
    bucket.delete("birds/b.png")
    bucket.delete("planes/a.png")
    synced = await sync(settings, bucket.name, **changes)
    gone = 1 if "prefix" in changes else 0
    assert synced.plan.gone == synced.published.removed == gone
    if gone:
        before.pop(f"gs://{bucket.name}/birds/b.png")
    await check_shown(settings, url, before)
