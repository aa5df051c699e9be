"""An index over two buckets that hold the same name takes neither image for the other."""

import io

import pytest
from PIL import Image
from tasks.core.runs.space import find_space

from tasks.core.reports.contact_sheet import draw_contact_sheet
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tasks.core.spaces.nearest import nearest_to_image
from tasks.core.types import Verdict
from tests.support.buckets import LocalBucket
from tests.support.sync import options, sync

SHARED = "bird.png"


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


async def test_the_image_of_the_other_bucket_is_a_neighbour_and_its_picture_is_shown(
    settings: Settings, bucket: LocalBucket, other: LocalBucket
) -> None:
    await sync(settings, other.name)
    await sync(settings, bucket.name)
    async with open_run(options(bucket.name), settings, "test") as run:
        space = await find_space(run)
        async with run.database.connection() as connection:
            found = await nearest_to_image(connection, run, space, SHARED, 5)
        assert [(one.bucket, one.image_id) for one in found] == [(other.name, SHARED)]
        assert found[0].distance > 0.01
        sheet = await draw_contact_sheet(run, Verdict((), SHARED, tuple(found), 2, None))
    colours = Image.open(sheet).convert("RGB").getcolors(100_000) or []
    shown = {colour for count, colour in colours if count > 4_000}
    assert {(0, 0, 255), (255, 0, 0)} <= shown
