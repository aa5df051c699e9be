"""An index is led to another space only where readers lose nothing by it."""

import re

import pytest

from tasks.core.errors import GuardStopped, TooManyRefusals
from tasks.core.publishing import publish
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch
from tests.support.model_server import ModelServer
from tests.support.sync import finish, load, options, prepare, sync
from tests.support.truth import check_shown, contents, row_versions
from tests.support.watching import Watcher, state_of

BROKEN = b"this is no picture"
SPACES = """
SELECT dimension, spaces.space_id = indexes.space_id
FROM birdwalk.spaces JOIN birdwalk.indexes USING (index_id) ORDER BY dimension
"""


async def test_back_and_forth_costs_each_space_once(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, dimension=256)
    assert await fetch(url, SPACES) == [(128, False), (256, True)]
    await check_shown(settings, url, contents(bucket), 256)
    await model_server.reset()
    back = await sync(settings, bucket.name)
    assert (back.plan.unchanged, back.plan.calls, await model_server.calls()) == (4, 0, 0)
    assert await fetch(url, SPACES) == [(128, True), (256, False)]
    await check_shown(settings, url, contents(bucket))


async def test_an_image_that_is_left_for_the_next_run_keeps_the_new_space_back(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    """Also one that readers saw in an older version (sync.md, V2)."""
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    before, seen = await state_of(url), contents(bucket)
    async with open_run(options(bucket.name, dimension=256), settings, "test") as run:
        await prepare(run)
        bucket.put("0003.png", picture(90))
        (counts,) = await load(run)
        assert (counts.embedded, counts.leftover) == (4, 1)
        said = (
            r"Space 2 \(.*256 dimensions\) has no vector yet of 1 image that readers see \(such as"
            rf" gs://{bucket.name}/0003\.png\)\. The index still shows space 1 \(.*128 dim"
        )
        with pytest.raises(GuardStopped, match=said):
            await finish(run)
    assert await state_of(url) == before
    await check_shown(settings, url, seen)
    synced = await sync(settings, bucket.name, dimension=256)
    assert synced.total("calls") == 1
    await check_shown(settings, url, contents(bucket), 256)


async def test_what_the_new_space_is_refused_is_counted_over_the_whole_index_and_named(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", publish.__name__)
    bucket.put_pictures(5, prefix="b/")
    bucket.put_all(["a/1.png", "a/2.png"])
    bucket.put("a/broken.png", BROKEN)
    await model_server.configure(instant=True)  # a model that reads anything
    await sync(settings, bucket.name)
    await model_server.configure()
    before = await state_of(url)
    few = {"dimension": 256, "max_refusals": 0.12}
    with pytest.raises(TooManyRefusals):
        await sync(settings, bucket.name, prefix="a/", **few)
    # Nothing of this part was refused, but one in eight of what readers would lose.
    said = (
        rf"refused 1 image of 8 that readers see \(such as gs://{bucket.name}/a/broken\.png\); at"
        r" most 12\.0% may be\. .*still shows space 1 .*max_refusals=0\.126"
    )
    with pytest.raises(GuardStopped, match=said):
        await sync(settings, bucket.name, prefix="b/", **few)
    assert await state_of(url) == before
    done = await sync(settings, bucket.name, prefix="b/", dimension=256, max_refusals=0.126)
    assert (done.total("calls"), done.published.images) == (0, 7)
    said = (
        f"Space 2 was refused 1 image that readers saw (such as gs://{bucket.name}/a/broken.png)."
    )
    assert said in caplog.text
    pictures = {name: data for name, data in contents(bucket).items() if data != BROKEN}
    await check_shown(settings, url, pictures, 256)


@pytest.mark.parametrize("second", ["prefix", "bucket"])
async def test_a_run_of_a_part_says_what_the_others_lack_and_the_last_one_publishes(
    settings: Settings, bucket: LocalBucket, url: str, second: str
) -> None:
    other = LocalBucket(f"{bucket.name}-other", bucket.client)
    other.client.create_bucket(other.name)
    bucket.put_pictures(2, prefix="a/")
    buckets = [bucket, *([other] if second == "bucket" else [])]
    (other if second == "bucket" else bucket).put_pictures(3, prefix="b/")
    for one in buckets:
        await sync(settings, one.name)
    before = await state_of(url)
    assert len(before) == 5
    parts = {
        "prefix": ((bucket.name, "a/"), (bucket.name, "b/")),
        "bucket": ((bucket.name, ""), (other.name, "")),
    }[second]
    # Other bytes in that part: what two parts have in common, either of them may bring.
    for number in range(3):
        (other if second == "bucket" else bucket).put(f"b/{number:04d}.png", picture(50 + number))
    await sync(settings, parts[1][0], prefix=parts[1][1])
    before = await state_of(url)
    with pytest.raises(GuardStopped, match=r"no vector yet of 3 images .*/b/0000\.png, gs://"):
        await sync(settings, parts[0][0], prefix=parts[0][1], dimension=256)
    assert await state_of(url) == before
    await sync(settings, parts[1][0], prefix=parts[1][1], dimension=256)
    await check_shown(settings, url, contents(*buckets), 256)


async def test_a_part_does_not_bring_back_a_space_that_is_out_of_date_elsewhere(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    """Nor images that have left the bucket (sync.md, V3)."""
    bucket.put_pictures(4, prefix="a/")
    bucket.put_pictures(2, prefix="b/")
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, dimension=256)
    bucket.put("a/0000.png", picture(90))
    bucket.put("a/0001.png", picture(91))
    bucket.delete("a/0003.png")
    await sync(settings, bucket.name, dimension=256)
    before = await state_of(url)
    said = rf"no vector yet of 2 images .*gs://{bucket.name}/a/0000\.png, .*/a/0001\.png\)"
    with pytest.raises(GuardStopped, match=said):
        await sync(settings, bucket.name, prefix="b/")
    assert await state_of(url) == before
    back = await sync(settings, bucket.name)
    assert back.total("calls") == 2
    await check_shown(settings, url, contents(bucket))


async def test_a_try_out_does_not_replace_what_readers_see_even_where_nothing_is_lost(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, dimension=256)
    before = await state_of(url)
    for limit in (2, 4):
        with pytest.raises(GuardStopped, match="does not replace what readers see"):
            await sync(settings, bucket.name, limit=limit)
    assert await state_of(url) == before
    # In the space that they see, it adds what it has.
    bucket.put("0000.png", picture(90))
    tried = await sync(settings, bucket.name, limit=1, dimension=256)
    assert (tried.published.changed, tried.published.images) == (1, 4)
    await check_shown(settings, url, contents(bucket), 256)


@pytest.mark.parametrize(
    ("ours", "theirs", "stops"),
    [
        ("", "", True),
        ("", "a/", True),
        ("a/", "", True),
        ("a/", "a/0001", True),
        ("a/", "b/", False),
    ],
)
async def test_a_listing_older_than_what_readers_see_is_not_published(
    settings: Settings, bucket: LocalBucket, url: str, ours: str, theirs: str, *, stops: bool
) -> None:
    bucket.put_pictures(3, prefix="a/")
    bucket.put_pictures(2, prefix="b/")
    for dimension in (256, 128):
        await sync(settings, bucket.name, dimension=dimension)
    asked = options(bucket.name, prefix=ours, dimension=256)
    async with open_run(asked, settings, "test") as run:
        await prepare(run)
        newer = await sync(settings, bucket.name, prefix=theirs)
        before = await row_versions(url)
        if stops:
            said = f"Run {newer.run_id} has published a later listing of gs://{bucket.name}/{ours}"
            with pytest.raises(GuardStopped, match=re.escape(said)):
                await finish(run)
            assert await row_versions(url) == before
        else:
            await finish(run)
    dimension = 128 if stops else 256
    await check_shown(settings, url, contents(bucket), dimension)


async def test_two_spaces_fill_at_the_same_time_and_each_publishes_whole_states(
    settings: Settings, bucket: LocalBucket, url: str, model_server: ModelServer
) -> None:
    bucket.put_pictures(5)
    await sync(settings, bucket.name)
    states = [await state_of(url)]
    await model_server.reset()
    async with (
        Watcher(url, "0004.png").watching() as watcher,
        open_run(options(bucket.name, dimension=256), settings, "migration") as migrating,
    ):
        await prepare(migrating)
        bucket.put("0000.png", picture(90))
        bucket.delete("0001.png")
        async with open_run(options(bucket.name), settings, "nightly") as nightly:
            await prepare(nightly)
            await load(migrating)
            await load(nightly)
            await finish(nightly)
        states.append(await state_of(url))
        await check_shown(settings, url, contents(bucket))
        await watcher.look()
        with pytest.raises(GuardStopped, match="later listing"):
            await finish(migrating)
        await watcher.look()
    # What it embedded is kept: the next one asks for what came since.
    await model_server.reset()
    assert (await sync(settings, bucket.name, dimension=256)).plan.unchanged == 3
    assert await model_server.calls() == 1
    await check_shown(settings, url, contents(bucket), 256)
    assert watcher.states == states
