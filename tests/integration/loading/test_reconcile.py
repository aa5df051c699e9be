"""A sync pays once for each content, and makes the index equal the bucket also where it shrinks."""

import pytest

from tasks.core.errors import GuardStopped
from tasks.core.reports.plan import plan_markdown
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync

ROWS = "SELECT image_id, embedding::text FROM image_embeddings ORDER BY image_id"


async def test_a_run_without_change_makes_no_call(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(12)
    await sync(settings, bucket.name)
    await model_server.reset()
    again = await sync(settings, bucket.name)
    assert (again.plan.unchanged, again.plan.calls, await model_server.calls()) == (12, 0, 0)


async def test_renamed_images_keep_their_vectors_without_a_call(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    names = bucket.put_pictures(12)
    await sync(settings, bucket.name)
    before = dict(await fetch(url, ROWS))
    for number, name in enumerate(names[:5]):
        bucket.delete(name)
        bucket.put(f"moved/{name}", picture(number))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert await model_server.calls() == 0
    assert (synced.reused.copied, synced.removed.gone) == (5, 5)
    after = dict(await fetch(url, ROWS))
    moved = {f"moved/{name}" if name in names[:5] else name: before[name] for name in names}
    assert after == moved


async def test_images_written_again_with_the_same_content_are_not_asked_again(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(8)
    await sync(settings, bucket.name)
    generations = [bucket.put(f"{number:04d}.png", picture(number)) for number in range(8)]
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.images("touched"), synced.reused.touched) == (8, 8)
    assert await model_server.calls() == 0
    stored = await fetch(url, "SELECT generation FROM image_embeddings ORDER BY image_id")
    assert [generation for (generation,) in stored] == generations


async def test_only_replaced_images_are_asked_again(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(9)
    await sync(settings, bucket.name)
    for number in range(3):
        bucket.put(f"{number:04d}.png", picture(100 + number))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.images("changed"), await model_server.calls()) == (3, 3)


async def test_copies_that_nobody_has_embedded_yet_are_paid_for_once(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        bucket.put(name, picture(7))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (await model_server.calls(), synced.reused.copied) == (1, 2)
    assert len({vector for _, vector in await fetch(url, ROWS)}) == 1


async def test_what_was_refused_once_is_refused_for_its_copies(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    for name in ("a.png", "b.png"):
        bucket.put(name, b"this is no picture")
    bucket.put("good.png", picture(1))
    await model_server.reset()
    await sync(settings, bucket.name)
    assert await model_server.calls() == 2
    assert await fetch(url, "SELECT image_id FROM birdwalk.refusals ORDER BY 1") == [
        ("a.png",),
        ("b.png",),
    ]


async def test_objects_without_md5_never_share_a_vector(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("a.png", picture(1))
    await sync(settings, bucket.name)
    # As a listing of composite objects has it: crc32c and size alone.
    await execute(url, "UPDATE birdwalk.space_1 SET content_hash = 'crc32c:AAAAAA==:1'")
    await execute(
        url,
        "CREATE FUNCTION birdwalk.composite() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.content_hash := 'crc32c:AAAAAA==:1'; RETURN NEW; END $$",
    )
    await execute(
        url,
        "CREATE TRIGGER composite BEFORE INSERT ON birdwalk.objects"
        " FOR EACH ROW EXECUTE FUNCTION birdwalk.composite()",
    )
    bucket.put("a.png", picture(1))
    bucket.put("b.png", picture(2))
    await model_server.reset()
    synced = await sync(settings, bucket.name)
    assert (synced.plan.images("changed"), synced.plan.images("new")) == (1, 1)
    assert await model_server.calls() == 2


async def test_gone_images_leave_with_their_refusals(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(4)
    bucket.put("broken.png", b"no picture")
    await sync(settings, bucket.name)
    bucket.delete("0000.png")
    bucket.delete("broken.png")
    synced = await sync(settings, bucket.name)
    assert (synced.removed.gone, synced.verdict.rows) == (1, 3)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0


async def test_a_changed_image_that_is_refused_loses_its_old_vector(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    bucket.put("0001.png", b"not a picture any more")
    synced = await sync(settings, bucket.name)
    assert synced.removed.stale == 1
    assert [name for name, _ in await fetch(url, ROWS)] == ["0000.png", "0002.png"]


async def test_only_the_listed_part_of_the_bucket_is_reconciled(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_all(["birds/a.png", "birds/b.png", "planes/a.png"])
    await sync(settings, bucket.name)
    bucket.delete("birds/b.png")
    bucket.delete("planes/a.png")
    synced = await sync(settings, bucket.name, prefix="birds/")
    assert synced.removed.gone == 1
    assert [name for name, _ in await fetch(url, ROWS)] == ["birds/a.png", "planes/a.png"]


async def test_a_listing_cut_short_removes_nothing(settings: Settings, bucket: LocalBucket) -> None:
    bucket.put_pictures(6)
    await sync(settings, bucket.name)
    bucket.delete("0000.png")
    synced = await sync(settings, bucket.name, limit=2)
    assert (synced.plan.gone, synced.removed.gone, synced.verdict.rows) == (0, 0, 6)


@pytest.mark.parametrize(
    ("delete", "changes", "allowed", "message"),
    [
        (4, {"max_deletions": 0.1}, {"max_deletions": 0.4}, "4 of 10 .*max_deletions=0.4"),
        (10, {}, {"allow_empty": True}, "holds no image, while the index has 10.*allow_empty"),
        (
            0,
            {"max_price": 0.0005},
            {"max_price": 0.001},
            r"10 calls cost about \$0.001; at most \$0.0005",
        ),
    ],
    ids=["deletions", "empty listing", "price"],
)
async def test_a_guard_stops_before_any_call_or_delete_and_names_its_parameter(
    settings: Settings,
    bucket: LocalBucket,
    model_server: ModelServer,
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
    with pytest.raises(GuardStopped, match=message):
        await sync(settings, bucket.name, **changes)
    assert await model_server.calls() == 0
    synced = await sync(settings, bucket.name, **{**changes, **allowed})
    assert synced.verdict.rows == 10 - delete


async def test_refused_images_are_asked_again_only_when_wanted(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(3)
    bucket.put("broken.png", b"no picture")
    await sync(settings, bucket.name)
    await model_server.reset()
    await sync(settings, bucket.name, retry_refused=True)
    assert await model_server.calls() == 1
    assert await fetch(url, "SELECT image_id, attempts FROM birdwalk.refusals") == [
        ("broken.png", 2)
    ]
    await model_server.configure(instant=True)  # a model that has learned to read it
    synced = await sync(settings, bucket.name, retry_refused=True)
    assert synced.verdict.rows == 4
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0


async def test_the_plan_page_shows_counts_examples_price_and_guards(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(10)
    await sync(settings, bucket.name)
    for number in range(3):
        bucket.delete(f"{number:04d}.png")
    bucket.put("a|b`.png", picture(55))
    asked = options(bucket.name, max_deletions=0.1)
    async with open_run(asked, settings, "test") as run:
        with pytest.raises(GuardStopped):
            await prepare(run)
        assert run.plan is not None
        page = plan_markdown(run.plan, asked)
    assert "**1 call, $0.0001, under a second**" in page
    assert "| gone | 3 | removed, after the new ones are in |" in page
    assert "- gone: `0000.png`, `0001.png`, `0002.png`\n" in page
    assert "| new | 1 |" in page
    assert "- new: `a|b'.png`" in page
    assert "| at most 10% of the index is gone | **NO** |" in page
    assert "`max_deletions=0.3` allows it" in page
