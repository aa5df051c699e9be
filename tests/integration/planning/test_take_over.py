"""What one index has, another of the same model, dimension and preprocessing gets for nothing."""

import pytest

from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import sync
from tests.support.truth import check_shown, contents

BROKEN = b"this is no picture"
REFUSED = "SELECT space_id, attempts FROM birdwalk.refusals ORDER BY space_id"


async def test_a_second_index_over_the_same_bucket_makes_no_call(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name, index="another")
    pictures = contents(bucket)
    bucket.put("broken.png", BROKEN)
    await sync(settings, bucket.name, index="another")
    await model_server.reset()
    second = await sync(settings, bucket.name, max_refusals=0.2)
    assert (second.plan.taken_over, second.plan.calls, await model_server.calls()) == (4, 0, 0)
    assert (second.plan.images("moved or copied"), second.plan.images("refused before")) == (4, 1)
    assert await fetchval(url, "SELECT taken_over FROM birdwalk.runs ORDER BY run_id DESC") == 4
    assert await fetch(url, REFUSED) == [(1, 1), (2, 1)]
    await check_shown(settings, url, pictures)
    # Each has its own: what happens to the first does not reach the second.
    await execute(url, "DELETE FROM birdwalk.vectors_1")
    await check_shown(settings, url, pictures)


@pytest.mark.parametrize("changes", [{"dimension": 256}, {"crop": "subject"}], ids=str)
async def test_vectors_of_another_kind_are_not_taken(
    settings: Settings, bucket: LocalBucket, changes: dict[str, object]
) -> None:
    bucket.put_pictures(2)
    await sync(settings, bucket.name, index="another")
    synced = await sync(settings, bucket.name, **changes)
    assert (synced.plan.taken_over, synced.total("calls")) == (0, 2)


async def test_what_one_index_was_refused_and_another_has_is_taken_from_that_one(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put("good.png", picture(1))
    bucket.put("bad.png", BROKEN)
    await sync(settings, bucket.name, index="refused")
    await model_server.configure(instant=True)  # a model that has learned to read it
    await sync(settings, bucket.name, index="accepted", retry_refused=True)
    await model_server.reset()
    third = await sync(settings, bucket.name)
    assert (third.plan.taken_over, third.plan.images("refused before")) == (2, 0)
    assert (third.verdict.images, await model_server.calls()) == (2, 0)
    assert await fetch(url, REFUSED) == [(1, 1)]
    # The first index may ask again: it finds the answer with the others.
    first = await sync(settings, bucket.name, index="refused", retry_refused=True)
    assert (first.plan.taken_over, first.verdict.images, await model_server.calls()) == (1, 2, 0)
    assert await fetch(url, REFUSED) == []


@pytest.mark.parametrize("copies", [1, 2])
async def test_refused_contents_are_asked_again_only_when_wanted_and_once_for_all_copies(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str, copies: int
) -> None:
    bucket.put_pictures(3)
    bucket.put_all([f"broken-{number}.png" for number in range(copies)], BROKEN)
    await model_server.reset()
    await sync(settings, bucket.name)
    assert await model_server.calls() == 4
    assert (await sync(settings, bucket.name)).plan.images("refused before") == copies
    assert await model_server.calls() == 4
    again = await sync(settings, bucket.name, retry_refused=True)
    assert (again.plan.calls, await model_server.calls()) == (1, 5)
    assert await fetch(url, REFUSED) == [(1, 2)]
    await model_server.configure(instant=True)  # a model that has learned to read it
    synced = await sync(settings, bucket.name, retry_refused=True)
    assert synced.verdict.images == 3 + copies
    assert await fetch(url, REFUSED) == []
