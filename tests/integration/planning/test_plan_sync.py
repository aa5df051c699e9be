"""A sync knows what it will ask for before it asks: what is new or changed, and nothing else."""

import pytest

from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.errors import UnknownImage
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import options, prepare, sync

PENDING = "SELECT batch, image_id, kind FROM birdwalk.pending ORDER BY batch, image_id"


async def test_a_first_run_plans_every_image_once_in_numbered_batches(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    names = bucket.put_pictures(23)
    made = await prepare(run)
    assert (made.listed, made.images("new"), made.images("changed"), made.unchanged) == (
        23,
        23,
        0,
        0,
    )
    assert made.calls == 23
    assert made.price == pytest.approx(0.0023)
    assert [(batch.first, batch.last) for batch in made.batches] == [(1, 10), (11, 20), (21, 23)]
    assert await fetch(url, PENDING) == [
        (1 + number // 10, name, "new") for number, name in enumerate(names)
    ]


async def test_a_second_run_asks_the_model_nothing(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(7)
    first = await sync(settings, bucket.name)
    assert await model_server.calls() == first.total("calls") == 7
    await model_server.reset()
    second = await sync(settings, bucket.name)
    assert (second.plan.unchanged, second.plan.calls, second.plan.price) == (7, 0, 0.0)
    assert second.plan.batches == ()
    assert await model_server.calls() == 0
    assert second.verdict.rows == 7


async def test_only_new_and_overwritten_images_are_asked_for(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(6)
    await sync(settings, bucket.name)
    bucket.put("0003.png", picture(77))
    bucket.put("another.png", picture(78))
    await model_server.reset()
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        assert (made.images("new"), made.images("changed"), made.unchanged) == (1, 1, 5)
        assert await fetch(url, PENDING) == [(1, "0003.png", "changed"), (1, "another.png", "new")]
        await embed_batch(run, 1)
    assert await model_server.calls() == 2


async def test_what_another_index_or_dimension_knows_is_asked_for_again(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(4)
    await sync(settings, bucket.name)
    for changes in ({"index": "another"}, {"dimension": 256}):
        async with open_run(options(bucket.name, **changes), settings, "test") as run:
            assert (await prepare(run)).images("new") == 4


async def test_a_refused_version_is_not_asked_for_again_but_its_successor_is(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(3)
    bucket.put("text.png", b"this is not a picture")
    first = await sync(settings, bucket.name)
    assert first.total("refused") == 1
    await model_server.reset()
    second = await sync(settings, bucket.name)
    assert (second.plan.images("refused before"), second.plan.calls) == (1, 0)
    assert await model_server.calls() == 0
    bucket.put("text.png", picture(5))
    third = await sync(settings, bucket.name)
    assert (third.plan.images("refused before"), third.plan.images("new"), third.verdict.rows) == (
        0,
        1,
        4,
    )


async def test_only_the_runs_own_work_is_kept(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    for _ in range(3):
        async with open_run(options(bucket.name), settings, "test") as run:
            await prepare(run)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.pending") == 3
    assert await fetchval(url, "SELECT count(DISTINCT run_id) FROM birdwalk.pending") == 1


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
