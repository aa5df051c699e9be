"""An index over two buckets that hold the same names: each sync touches its own."""

import io

import pytest
from PIL import Image

from tasks.core.reports.contact_sheet import contact_sheet_markdown, draw_contact_sheet
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch
from tests.support.sync import finish, load, options, prepare, sync
from tests.support.truth import check_shown, contents

SHARED = "bird.png"
VERSIONS = "SELECT image_id, ctid::text, xmin::text FROM birdwalk.images_1 WHERE bucket = $1"


@pytest.fixture
def other(bucket: LocalBucket) -> LocalBucket:
    """A second bucket; each of the two holds another picture under the shared name."""
    second = LocalBucket(f"{bucket.name}-other", bucket.client)
    second.client.create_bucket(second.name)
    second.put(SHARED, coloured("red"))
    bucket.put(SHARED, coloured("blue"))
    return second


def coloured(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(data, "PNG")
    return data.getvalue()


async def test_each_sync_touches_the_images_of_its_own_bucket_and_prefix(
    settings: Settings, bucket: LocalBucket, other: LocalBucket, url: str
) -> None:
    for number, one in enumerate((bucket, other)):
        one.put_pictures(3 + number, prefix="a/")
        one.put("b/0000.png", picture(50 + number))
        await sync(settings, one.name)
    await check_shown(settings, url, contents(bucket, other))
    for one in (bucket, other):
        one.delete("a/0000.png")
        one.put("a/0001.png", picture(60))
        one.delete("b/0000.png")
    stays = await fetch(url, VERSIONS, other.name)
    synced = await sync(settings, bucket.name, prefix="a/")
    assert (synced.plan.indexed, synced.plan.gone, synced.plan.calls) == (3, 1, 1)
    assert await fetch(url, VERSIONS, other.name) == stays
    shown = await fetch(url, "SELECT content FROM image_embeddings WHERE bucket = $1", bucket.name)
    beside = f"gs://{bucket.name}/b/0000.png"
    assert {address for (address,) in shown} == {*contents(bucket), beside}
    for one in (bucket, other):
        await sync(settings, one.name)
    await check_shown(settings, url, contents(bucket, other))


async def test_the_image_of_the_other_bucket_is_a_neighbour_and_its_picture_is_shown(
    settings: Settings, bucket: LocalBucket, other: LocalBucket
) -> None:
    await sync(settings, other.name)
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        await load(run)
        _, verdict, _ = await finish(run)
        assert [(one.bucket, one.image_id) for one in verdict.neighbours] == [(other.name, SHARED)]
        assert verdict.neighbours[0].distance > 0.01
        sheet = await draw_contact_sheet(run, verdict)
    colours = Image.open(sheet).convert("RGB").getcolors(100_000) or []
    shown = {colour for count, colour in colours if count > 4_000}
    assert {(0, 0, 255), (255, 0, 0)} <= shown
    page = contact_sheet_markdown(verdict, sheet.read_bytes())
    assert f"| 1 | `{SHARED}` | {verdict.neighbours[0].distance:.4f} |" in page
