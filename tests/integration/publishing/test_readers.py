"""Readers see a whole sync or none of it, whatever happens while they look."""

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import asyncpg
import pytest

from tasks.core.database.connections import open_database
from tasks.core.embedding import embed_batch, outcomes
from tasks.core.loading import build_index, insert_batch, write_csv
from tasks.core.maintenance.rollback import switch_space
from tasks.core.planning import create_table, list_images, plan_sync
from tasks.core.publishing import publish, verify
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import sync
from tests.support.truth import check_shown, contents
from tests.support.waiting import until
from tests.support.watching import Watcher, read_state, state_of

STAYS = "stays.png"
DIMENSIONS = "SELECT DISTINCT vector_dims(embedding) FROM image_embeddings"

STEPS: tuple[tuple[ModuleType, str], ...] = (
    (list_images, "list_images"),
    (create_table, "create_table"),
    (plan_sync, "plan_sync"),
    (embed_batch, "embed_batch"),
    (insert_batch, "insert_batch"),
    (write_csv, "write_csv"),
    (outcomes, "list_refusals"),
    (build_index, "build_index"),
    (verify, "verify"),
    (publish, "hold_index"),
    (publish, "_merge_listing"),
    (publish, "_remove_gone"),
    (publish, "show_space"),
)
"""What a sync does, in its order; publishing in its parts."""

LOOKED_AT = ("hold_index", "_merge_listing", "_remove_gone")
"""Parts of publishing after which readers are not kept waiting yet."""


class BrokenStepError(Exception):
    """A step that did its work, and failed then."""


def change(bucket: LocalBucket, number: int) -> None:
    """Change a bucket in every way; it holds six pictures and the one that stays."""
    bucket.put(f"new-{number}.png", picture(100 + number))
    bucket.put("0000.png", picture(200 + number))
    one, other = (bucket.read_all()[name] for name in ("0001.png", "0002.png"))
    bucket.put("0001.png", other)
    bucket.put("0002.png", one)
    bucket.rename("0003.png", "moved.png")
    bucket.rename("0004.png", "0003.png")
    bucket.rename("moved.png", "0004.png")
    if number > 1:
        bucket.delete(f"new-{number - 1}.png")


@pytest.fixture
def filled(bucket: LocalBucket) -> LocalBucket:
    """A bucket with some pictures."""
    bucket.put_pictures(6)
    bucket.put(STAYS, picture(50))
    return bucket


def followed(
    work: Callable[..., Awaitable[Any]], then: Callable[[], Awaitable[None]]
) -> Callable[..., Awaitable[Any]]:
    """Return a step that is followed by something."""

    async def step(*arguments: Any, **options: Any) -> Any:
        result = await work(*arguments, **options)
        await then()
        return result

    return step


async def test_every_change_of_an_index_is_whole_from_its_first_load_on(
    settings: Settings, filled: LocalBucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(url, STAYS)
    for name in LOOKED_AT:
        step = followed(getattr(publish, name), watcher.look)
        monkeypatch.setattr(publish, name, step)
    states = []
    async with watcher.watching():
        # A load, changes, another dimension, and back; a last time without a change.
        for number, dimension in enumerate((128, 128, 256, 256, 128, 128)):
            if number not in {0, 5}:
                change(filled, number)
            await sync(settings, filled.name, dimension=dimension)
            await check_shown(settings, url, contents(filled), dimension)
            states.append(await state_of(url))
            await watcher.look()
        async with open_database(settings) as database:
            for dimension in (256, 128):
                # What the other space has no vector of is not shown by a rollback.
                await switch_space(database, "image_embeddings", None, 1.0)
                states.append(await state_of(url))
                assert await fetch(url, DIMENSIONS) == [(dimension,)]
                await watcher.look()
    assert states[4] == states[5] == states[7]
    assert watcher.states == [*states[:5], *states[6:]]


@pytest.mark.parametrize("dimension", [128, 256])
async def test_a_sync_that_fails_after_any_step_shows_nothing_of_it_and_pays_once(
    settings: Settings, filled: LocalBucket, model_server: ModelServer, url: str, dimension: int
) -> None:
    await sync(settings, filled.name)
    await model_server.reset()
    change(filled, 1)
    before = await state_of(url)
    watcher = Watcher(url, STAYS)

    async def fail() -> None:
        raise BrokenStepError

    async with watcher.watching():
        for number, (module, name) in enumerate(STEPS):
            filled.put(
                f"late-{number}.png", picture(400 + number)
            )  # each attempt has a call to make
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, name, followed(getattr(module, name), fail))
                with pytest.raises(BrokenStepError):
                    await sync(settings, filled.name, dimension=dimension)
                assert await state_of(url) == before, name
        await watcher.look()
        assert watcher.states == [before]
        synced = await sync(settings, filled.name, dimension=dimension)
        await watcher.look()
    assert synced.total("calls") == 0
    assert await model_server.calls() == len(STEPS) + (2 if dimension == 128 else 8)
    await check_shown(settings, url, contents(filled), dimension)
    assert watcher.states == [before, await state_of(url)]


async def test_a_snapshot_sees_what_it_saw_through_a_publication(
    settings: Settings, filled: LocalBucket, url: str
) -> None:
    await sync(settings, filled.name)
    connection = await asyncpg.connect(url)
    async with connection.transaction(isolation="repeatable_read"):
        before = await read_state(connection)
        change(filled, 1)
        await sync(settings, filled.name)
        assert await read_state(connection) == before
    after = await read_state(connection)
    assert after == await state_of(url) != before

    async def publication_waits() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass"
        return bool(await fetchval(url, waiting, "image_embeddings"))

    # To lead the view to another space, a publication waits for who has read it in a transaction.
    async with connection.transaction(isolation="repeatable_read"):
        assert await read_state(connection) == after
        syncing = asyncio.create_task(sync(settings, filled.name, dimension=256))
        await until(publication_waits)
        assert await read_state(connection) == after
    await syncing
    await connection.close()
    await check_shown(settings, url, contents(filled), 256)
