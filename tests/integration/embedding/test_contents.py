"""A content is asked for once, by an object that still has it, and gets no other one's vector."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.embedding.outcomes import list_leftovers
from tasks.core.embedding.work_list import WorkList
from tasks.core.google.versions import find_overwritten
from tasks.core.loading.insert_batch import insert_batch
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.types import Image, Vector
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import carry_out, options, prepare, sync

VIEW = "SELECT image_id, embedding::text FROM image_embeddings"
ASKED_BY = "SELECT image_id, gone, error FROM birdwalk.work ORDER BY image_id"
LISTED = "SELECT image_id FROM birdwalk.listings WHERE run_id = $1 ORDER BY image_id"
COPIES = ("a.png", "b.png", "c.png", "d.png")


def put_copies(bucket: LocalBucket, data: bytes, *names: str) -> None:
    """Put the same picture under several names, beside another picture."""
    for name in names:
        bucket.put(name, data)
    bucket.put("other.png", picture(1))


async def is_of(run: Run, vector: str, data: bytes) -> bool:
    """Return whether a vector is what the model answers for a picture."""
    answer: Vector = await run.clients.embedder.embed_bytes(data)
    stored = np.fromstring(vector.strip("[]"), np.float32, sep=",")
    return float(np.linalg.norm(stored - answer)) < 1e-4


def at_the_call_of(
    run: Run, name: str, change: Callable[[], object], *, before: bool = True
) -> None:
    """Change the bucket right before a call for an object, or right after its answer."""
    ask = run.clients.embedder.embed_uri

    async def embed_uri(uri: str) -> Vector:
        concerned = uri.endswith(f"/{name}")
        if concerned and before:
            change()
        try:
            return await ask(uri)
        finally:
            if concerned and not before:
                change()

    run.clients.embedder.embed_uri = embed_uri  # type: ignore[method-assign]  # a fault in mid-call


async def test_ten_copies_at_once_are_one_call_and_one_vector(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    put_copies(bucket, picture(7), *(f"{number}.png" for number in range(10)))
    done = await sync(settings, bucket.name)
    assert (done.plan.calls, done.plan.images("moved or copied")) == (2, 9)
    assert (done.total("embedded"), done.csv.rows, await model_server.answers()) == (2, 2, 2)
    shown = dict(await fetch(url, VIEW))
    assert len(shown) == done.published.images == 11
    assert len(set(shown.values())) == 2


@pytest.mark.parametrize("vanished", [("a.png",), ("a.png", "b.png"), COPIES])
async def test_the_next_object_is_asked_for_a_content_whose_object_is_gone(
    run: Run, bucket: LocalBucket, model_server: ModelServer, url: str, vanished: tuple[str, ...]
) -> None:
    put_copies(bucket, picture(7), *COPIES)
    made = await prepare(run)
    for name in vanished:
        bucket.delete(name)
    done = await carry_out(run, made)
    left = sorted({*COPIES, "other.png"} - {*vanished})
    contents = 2 if len(left) > 1 else 1
    # A content is gone when no object has it any more; objects that are gone leave the listing.
    assert (done.total("gone"), done.total("embedded")) == (2 - contents, contents)
    assert await model_server.answers() == contents
    assert [name for (name,) in await fetch(url, LISTED, run.run_id)] == left
    shown = dict(await fetch(url, VIEW))
    assert sorted(shown) == left
    assert await is_of(run, shown[left[0]], picture(7 if contents == 2 else 1))


async def test_a_repeated_batch_asks_by_the_object_that_took_the_place_and_pays_nothing(
    run: Run, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    put_copies(bucket, picture(7), "a.png", "b.png")
    bucket.put("single.png", picture(9))
    await prepare(run)
    bucket.delete("a.png")
    bucket.delete("single.png")
    first = await embed_batch(run, 1)
    asked_by = [("b.png", False, None), ("other.png", False, None), ("single.png", True, None)]
    assert await fetch(url, ASKED_BY) == asked_by
    calls = await model_server.calls()
    again = await embed_batch(run, 1)
    assert await model_server.calls() == calls
    for counts in (first, again):
        assert (counts.images, counts.embedded, counts.gone) == (3, 2, 1)


async def test_after_a_kill_between_the_change_of_the_list_and_the_answer_the_next_object_is_asked(
    run: Run, bucket: LocalBucket, model_server: ModelServer
) -> None:
    put_copies(bucket, picture(7), "a.png", "b.png", "c.png")
    await prepare(run)
    bucket.delete("a.png")
    await embed_batch(run, 1)
    part = run.part(1)
    rows = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(row for row in rows if not row.startswith(b'"b.png"')))
    await model_server.reset()
    again = await embed_batch(run, 1)
    assert (again.embedded, again.gone, await model_server.calls()) == (2, 0, 1)


@pytest.mark.parametrize("when", ["before the call", "after the answer", "deleted after it"])
async def test_a_content_whose_object_was_overwritten_is_asked_by_the_next_that_has_it(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str, when: str
) -> None:
    old, new = picture(7), picture(8)
    put_copies(bucket, old, "a.png", "b.png", "c.png")
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        if when == "deleted after it":
            at_the_call_of(run, "a.png", lambda: bucket.delete("a.png"), before=False)
        else:
            overwrites = when == "before the call"
            at_the_call_of(run, "a.png", lambda: bucket.put("a.png", new), before=overwrites)
        done = await carry_out(run, made)
        assert (done.total("embedded"), done.total("leftover"), done.total("answers")) == (2, 0, 3)
        assert await model_server.answers() == 3
        shown = dict(await fetch(url, VIEW))
        # What is overwritten is shown as it was listed; what is gone is not shown.
        deleted = when == "deleted after it"
        copies = {"b.png", "c.png", *(() if deleted else ("a.png",))}
        assert shown.keys() == {*copies, "other.png"}
        assert len({shown[name] for name in copies}) == 1
        assert await is_of(run, shown["b.png"], old)
    await model_server.reset()
    async with open_run(options(bucket.name), settings, "test") as run:
        healed = await carry_out(run, await prepare(run))
        assert (healed.plan.images("changed"), healed.plan.gone) == (1 - deleted, 0)
        assert await model_server.answers() == healed.plan.calls == 1 - deleted
        shown = dict(await fetch(url, VIEW))
        assert shown.keys() == {*copies, "other.png"}
        assert deleted or await is_of(run, shown["a.png"], new)


async def test_an_overwritten_content_that_no_other_object_has_is_left_and_never_shown(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    old, new = picture(7), picture(8)
    put_copies(bucket, old, "a.png", "b.png")
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        at_the_call_of(run, "a.png", lambda: bucket.put("a.png", new))
        at_the_call_of(run, "b.png", lambda: bucket.put("b.png", new))
        done = await carry_out(run, made)
        (group,) = await list_leftovers(run)
    assert (group.images, group.examples) == (2, ("a.png", "b.png"))
    assert (done.total("leftover"), done.total("embedded")) == (1, 1)
    assert [name for name, _ in await fetch(url, VIEW)] == ["other.png"]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.vectors_1") == 1
    # What the old bytes look like nobody knows: who brings them back pays for them.
    bucket.put("copy.png", old)
    await model_server.reset()
    async with open_run(options(bucket.name), settings, "test") as run:
        await carry_out(run, await prepare(run))
        assert await model_server.answers() == 2
        shown = dict(await fetch(url, VIEW))
        assert await is_of(run, shown["copy.png"], old)
        assert await is_of(run, shown["a.png"], new)
        assert shown["a.png"] == shown["b.png"]


async def test_the_answer_for_an_overwritten_object_is_not_loaded_after_another_process_began_anew(
    run: Run, bucket: LocalBucket, url: str
) -> None:
    put_copies(bucket, picture(7), "a.png")
    await prepare(run)
    at_the_call_of(run, "a.png", lambda: bucket.put("a.png", picture(8)))
    counts = await embed_batch(run, 1)
    await WorkList(run, 1).begin()
    await insert_batch(run, 1, counts)
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.vectors_1") == 1


async def test_a_content_of_an_overwritten_object_and_a_deleted_one_is_left_and_fails_no_gate(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    put_copies(bucket, picture(7), "a.png", "b.png")
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        bucket.put("a.png", picture(8))
        bucket.delete("b.png")
        done = await carry_out(run, made)
        assert await fetch(url, LISTED, run.run_id) == [("a.png",), ("other.png",)]
        (group,) = await list_leftovers(run)
    assert group.examples == ("a.png",)
    assert (done.total("gone"), done.total("leftover"), done.total("embedded")) == (0, 1, 1)


async def test_an_object_that_is_deleted_after_its_answer_is_gone_and_not_left(
    run: Run, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    put_copies(bucket, picture(7), "a.png")
    made = await prepare(run)
    at_the_call_of(run, "a.png", lambda: bucket.delete("a.png"), before=False)
    first = await embed_batch(run, 1)
    again = await embed_batch(run, 1)
    for counts in (first, again):
        assert (counts.embedded, counts.gone, counts.leftover, counts.answers) == (1, 1, 0, 2)
    done = await carry_out(run, made)
    assert done.total("gone") == 1
    assert [name for name, _ in await fetch(url, VIEW)] == ["other.png"]
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.vectors_1") == 1
    assert await model_server.answers() == 2


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_another_version_is_refused_for_refuses_no_listed_content(
    settings: Settings, bucket: LocalBucket, url: str, *, deleted: bool
) -> None:
    put_copies(bucket, picture(7), "a.png", "b.png")
    bucket.put("lonely.png", picture(9))
    async with open_run(options(bucket.name), settings, "test") as run:
        made = await prepare(run)
        for name in ("a.png", "lonely.png"):

            def spoil(name: str = name) -> None:
                bucket.put(name, b"no picture any more")

            def remove(name: str = name) -> None:
                bucket.delete(name)

            at_the_call_of(run, name, spoil)
            if deleted:
                at_the_call_of(run, name, remove, before=False)
        done = await carry_out(run, made)
        assert await fetchval(url, "SELECT count(*) FROM birdwalk.refusals") == 0
        left = [group.examples for group in await list_leftovers(run)]
    assert left == ([] if deleted else [("lonely.png",)])
    assert (done.total("gone"), done.total("refused")) == (int(deleted), 0)
    shown = {name for name, _ in await fetch(url, VIEW)}
    assert shown == {"b.png", "other.png", *(() if deleted else ("a.png",))}
    # Now that it is listed, the bytes are refused: once, whoever has them.
    synced = await sync(settings, bucket.name)
    assert synced.total("refused") == (0 if deleted else 1)
    assert {name for name, _ in await fetch(url, VIEW)} == {"b.png", "other.png"}


async def test_the_storage_server_tells_which_versions_are_still_there(
    run: Run, bucket: LocalBucket
) -> None:
    names = bucket.put_all([*(f"{number:03d}.png" for number in range(40)), "é b/ü.png", "ü.png"])
    images = [Image(bucket.name, name, bucket.generation(name), "a content") for name in names]
    storage: Any = run.clients.storage
    assert await find_overwritten(storage, images) == frozenset()
    bucket.put("007.png", picture(99))
    bucket.put("é b/ü.png", picture(98))
    bucket.delete("012.png")
    for some in (images, images[::9] + images[-2:], images[7:8]):
        wrong = {"007.png", "é b/ü.png", "012.png"} & {image.image_id for image in some}
        assert await find_overwritten(storage, some) == wrong
