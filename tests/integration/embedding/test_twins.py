"""Images of one content are one call, and none goes without a vector, or with another's."""

from typing import Any

import numpy as np
import pytest

from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.embedding.outcomes import list_pending
from tasks.core.google.versions import find_overwritten
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.types import ImageRef, Vector
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import carry_out, load, options, prepare, sync

ROWS = "SELECT image_id, embedding::text FROM image_embeddings"
HASHES = "SELECT image_id, content_hash IS NULL FROM birdwalk.space_1 ORDER BY image_id"
PENDING = "SELECT batch, image_id FROM birdwalk.pending ORDER BY batch, image_id"
REFUSED = "SELECT image_id FROM birdwalk.refusals"


def put_twins(bucket: LocalBucket, data: bytes, *names: str) -> None:
    """Put the same picture under several names, beside another picture."""
    for name in names:
        bucket.put(name, data)
    bucket.put("other.png", picture(1))


async def is_of(run: Run, vector: str, data: bytes) -> bool:
    """Return whether a vector is what the model answers for a picture."""
    answer: Vector = await run.clients.embedder.embed_bytes(data)
    stored = np.fromstring(vector.strip("[]"), np.float32, sep=",")
    return float(np.linalg.norm(stored - answer)) < 1e-4


@pytest.mark.parametrize("vanished", [("a.png",), ("a.png", "b.png")])
async def test_the_next_twin_takes_the_place_of_an_image_that_vanished(
    run: Run, bucket: LocalBucket, model_server: ModelServer, url: str, vanished: tuple[str, ...]
) -> None:
    put_twins(bucket, picture(7), "a.png", "b.png", "c.png", "d.png")
    made = await prepare(run)
    for name in vanished:
        bucket.delete(name)
    done = await carry_out(run, made)
    assert (done.total("gone"), done.total("embedded")) == (len(vanished), 2)
    assert await model_server.answers() == 2
    rows = dict(await fetch(url, ROWS))
    twins = {name: vector for name, vector in rows.items() if name != "other.png"}
    assert set(twins) == {"a.png", "b.png", "c.png", "d.png"} - set(vanished)
    assert len(set(twins.values())) == 1
    assert await is_of(run, twins["d.png"], picture(7))


async def test_a_repeated_batch_finds_the_twin_in_its_place_and_asks_no_other(
    run: Run, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    put_twins(bucket, picture(7), "a.png", "b.png", "c.png")
    await prepare(run)
    bucket.delete("a.png")
    first = await embed_batch(run, 1)
    assert await fetch(url, PENDING) == [
        (0, "c.png"),
        *((1, name) for name in ("a.png", "b.png", "other.png")),
    ]
    calls = await model_server.calls()
    again = await embed_batch(run, 1)
    assert await model_server.calls() == calls
    assert (first.images, first.embedded, first.gone) == (3, 2, 1)
    assert (again.images, again.embedded, again.gone) == (3, 2, 1)


async def test_a_twin_that_was_to_take_a_place_is_asked_by_the_next_attempt(
    run: Run, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    put_twins(bucket, picture(7), "a.png", "b.png", "c.png")
    await prepare(run)
    bucket.delete("a.png")
    await embed_batch(run, 1)
    # As after a kill between the change of the list and the twin's answer.
    part = run.part(1)
    rows = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(row for row in rows if not row.startswith(b'"b.png"')))
    await model_server.reset()
    again = await embed_batch(run, 1)
    assert (again.embedded, again.gone, await model_server.calls()) == (2, 1, 1)
    assert (0, "c.png") in await fetch(url, PENDING)


async def test_an_image_overwritten_after_the_listing_gives_its_twins_no_vector(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    old, new = picture(7), picture(8)
    put_twins(bucket, old, "a.png", "b.png", "c.png")
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        bucket.put("a.png", new)
        await carry_out(run, made)
        assert await model_server.answers() == 3
        rows = dict(await fetch(url, ROWS))
        assert await is_of(run, rows["b.png"], old)
        assert rows["b.png"] == rows["c.png"]
        assert dict(await fetch(url, HASHES)) == {
            "a.png": True,
            **dict.fromkeys(("b.png", "c.png", "other.png"), False),
        }
    await model_server.reset()
    async with open_run(options(bucket.name), settings, "test") as run:
        healed = await carry_out(run, await prepare(run))
        assert (healed.plan.images("changed"), await model_server.calls()) == (1, 1)
        rows = dict(await fetch(url, ROWS))
        assert await is_of(run, rows["a.png"], new)


async def test_a_copy_made_later_gets_no_vector_of_an_overwritten_image(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    old, new = picture(7), picture(8)
    put_twins(bucket, old, "a.png")
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        bucket.put("a.png", new)
        await load(run, made)
    bucket.put("copy.png", old)
    async with open_run(options(bucket.name), settings, "test") as run:
        synced = await carry_out(run, await prepare(run))
        assert (synced.plan.images("new"), synced.plan.images("duplicate")) == (1, 0)
        rows = dict(await fetch(url, ROWS))
        assert await is_of(run, rows["copy.png"], old)
        assert await is_of(run, rows["a.png"], new)


@pytest.mark.parametrize("now", [b"no picture any more", None])
async def test_what_another_version_is_refused_for_refuses_no_twin(
    settings: Settings, bucket: LocalBucket, url: str, now: bytes | None
) -> None:
    put_twins(bucket, b"no picture", "y.png")
    put_twins(bucket, picture(7), "a.png", "b.png")
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        run.clients.embedder.embed_uri = _overwriting(run, bucket, now)  # type: ignore[method-assign]  # a mid-call fault
        await carry_out(run, made)
        assert await fetch(url, REFUSED) == [("y.png",)]
        left = await list_pending(run)
        assert [group.examples for group in left] == ([("a.png",)] if now else [])
    synced = await sync(settings, bucket.name)
    assert synced.plan.images("refused before") == 1
    assert {name for name, _ in await fetch(url, ROWS)} == {"b.png", "other.png"}
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == (2 if now else 1)


def _overwriting(run: Run, bucket: LocalBucket, now: bytes | None) -> Any:
    """Return what asks for a picture, but for a.png right when it is replaced by no picture."""
    ask = run.clients.embedder.embed_uri

    async def embed_uri(uri: str) -> Vector:
        if not uri.endswith("/a.png"):
            return await ask(uri)
        bucket.put("a.png", b"no picture any more")
        try:
            return await ask(uri)
        finally:
            if now is None:
                bucket.delete("a.png")

    return embed_uri


async def test_the_storage_server_tells_which_versions_are_still_there(
    run: Run, bucket: LocalBucket
) -> None:
    names = bucket.put_all([*(f"{number:03d}.png" for number in range(40)), "é b/ü.png", "ü.png"])
    images = [ImageRef(bucket.name, name, bucket.generation(name)) for name in names]
    storage = run.clients.storage
    assert await find_overwritten(storage, images) == frozenset()
    bucket.put("007.png", picture(99))
    bucket.put("é b/ü.png", picture(98))
    bucket.delete("012.png")
    for some in (images, images[::9] + images[-2:], images[7:8]):
        wrong = {"007.png", "é b/ü.png", "012.png"} & {image.name for image in some}
        assert await find_overwritten(storage, some) == wrong
