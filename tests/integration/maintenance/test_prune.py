"""What nobody needs any more goes, after a while; what somebody may still want stays."""

import asyncio
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.maintenance.prune import prune_contents, prune_files
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import carry_out, options, prepare, sync

DAYS = 30
VECTORS = "SELECT count(*) FROM birdwalk.vectors_1"
REFUSALS = "SELECT count(*) FROM birdwalk.refusals"
UNUSED = "SELECT count(*) FROM birdwalk.unused_contents"
LATER = """
    UPDATE birdwalk.unused_contents SET since = since - make_interval(days => $1)
"""
LATER_REFUSALS = """
    UPDATE birdwalk.refusals SET last_refused = last_refused - make_interval(days => $1)
"""


async def sync_and_prune(settings: Settings, bucket: LocalBucket, **changes: object) -> int:
    """Sync a bucket as the flow does, pruning last; return how many vectors went."""
    async with open_run(options(bucket.name, **changes), settings, "test") as run:
        await carry_out(run, await prepare(run))
        return await prune_contents(run)


async def pass_days(url: str, days: int) -> None:
    await execute(url, LATER, days)
    await execute(url, LATER_REFUSALS, days)


async def test_a_vector_without_an_image_stays_for_some_days_and_goes_then(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(4)
    bucket.put("copy.png", picture(1))
    assert await sync_and_prune(settings, bucket) == 0
    bucket.delete("0000.png")
    bucket.delete("0001.png")  # its content has another name
    bucket.put("0002.png", picture(50))
    assert await sync_and_prune(settings, bucket) == 0
    assert (await fetchval(url, VECTORS), await fetchval(url, UNUSED)) == (5, 2)
    await pass_days(url, DAYS - 1)
    assert await sync_and_prune(settings, bucket) == 0
    # Restored in time it costs nothing, and its days begin anew when it goes again.
    await model_server.reset()
    bucket.put("restored.png", picture(0))
    assert await sync_and_prune(settings, bucket) == 0
    assert (await model_server.calls(), await fetchval(url, UNUSED)) == (0, 1)
    bucket.delete("restored.png")
    assert await sync_and_prune(settings, bucket) == 0
    await pass_days(url, 2)
    writes = "SELECT writes FROM birdwalk.spaces"
    before = await fetchval(url, writes)
    assert await sync_and_prune(settings, bucket) == 1
    assert (await fetchval(url, VECTORS), await fetchval(url, UNUSED)) == (4, 1)
    assert await fetchval(url, writes) == before + 1
    assert await model_server.calls() == 0
    bucket.put("0000.png", picture(0))
    bucket.put("0002.png", picture(2))
    await sync_and_prune(settings, bucket)
    assert await model_server.calls() == 1


async def test_a_refusal_without_an_image_stays_for_some_days_and_goes_then(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(2)
    bucket.put("stays.png", b"no picture")
    bucket.put("goes.png", b"no picture either")
    await sync_and_prune(settings, bucket)
    bucket.delete("goes.png")
    await pass_days(url, DAYS - 1)
    await sync_and_prune(settings, bucket)
    assert await fetchval(url, REFUSALS) == 2
    await model_server.reset()
    bucket.put("restored.png", b"no picture either")
    await sync_and_prune(settings, bucket)
    assert await model_server.calls() == 0
    bucket.delete("restored.png")
    await pass_days(url, 2)
    await sync_and_prune(settings, bucket)
    # The one that is still in the bucket is not asked for again, however old it is.
    assert await fetchval(url, REFUSALS) == 1
    await sync_and_prune(settings, bucket)
    assert await model_server.calls() == 0


async def test_what_another_index_or_another_space_has_is_not_looked_at(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(3)
    await sync(settings, bucket.name)
    await sync(settings, bucket.name, index="other")
    await sync(settings, bucket.name, dimension=256)
    bucket.delete("0000.png")
    at_once = settings.model_copy(update={"unused_days": 0})
    removed = [await sync_and_prune(at_once, bucket, dimension=256) for _ in range(2)]
    assert removed == [0, 1]
    left = [
        await fetchval(url, f"SELECT count(*) FROM birdwalk.vectors_{number}")  # noqa: S608 - ours
        for number in (1, 2, 3)
    ]
    assert left == [3, 3, 2]


@pytest.fixture
def keeping_two(settings: Settings) -> Settings:
    """Settings that keep the files of two runs."""
    return settings.model_copy(update={"runs_kept": 2})


def directories(settings: Settings) -> set[str]:
    """Return what is in the directory of runs."""
    return {path.name for path in (settings.data_directory / "runs").iterdir()}


async def leave_files(settings: Settings, bucket: LocalBucket, **changes: object) -> Path:
    """Have a run that leaves a CSV; return its directory."""
    async with open_run(options(bucket.name, **changes), settings, "test") as run:
        run.directory.mkdir(parents=True)
        run.csv.touch()
    return run.directory


async def die_with_parts(settings: Settings, bucket: LocalBucket, **changes: object) -> Path:
    """Have a run that dies with a part that is in no table; return its directory."""
    directories: list[Path] = []
    with suppress(asyncio.CancelledError):
        async with open_run(options(bucket.name, **changes), settings, "test") as run:
            directories.append(run.directory)
            await prepare(run)
            await embed_batch(run, 1)
            raise asyncio.CancelledError
    return directories[0]


async def prune(settings: Settings, bucket: LocalBucket, **changes: object) -> int:
    """Have a run that prunes, as the flow's last act is."""
    async with open_run(options(bucket.name, **changes), settings, "test") as run:
        return await prune_files(run)


async def test_the_last_runs_of_an_index_and_all_of_others_stay(
    keeping_two: Settings, bucket: LocalBucket
) -> None:
    other = await leave_files(keeping_two, bucket, index="other")
    mine = [await leave_files(keeping_two, bucket) for _ in range(4)]
    latest = mine[0].with_name("latest")
    latest.unlink()
    latest.symlink_to(mine[1].name)
    async with open_run(options(bucket.name, index="busy"), keeping_two, "test") as busy:
        busy.directory.mkdir()
        assert await prune(keeping_two, bucket) == 2
        stay = {other.name, busy.directory.name, "latest", mine[1].name, mine[3].name}
        assert directories(keeping_two) == stay
    assert await prune(keeping_two, bucket) == 0


async def test_what_is_no_run_of_this_database_is_not_touched(
    keeping_two: Settings, bucket: LocalBucket
) -> None:
    mine = [await leave_files(keeping_two, bucket) for _ in range(3)]
    runs = mine[0].parent
    # The same number in another database, and things that people put there.
    theirs = runs / f"{mine[0].name[:6]}-{uuid4().hex[:8]}"
    for directory in (theirs, runs / "notes", runs / "000001"):
        directory.mkdir()
    (runs / "README").touch()
    elsewhere = runs.parent / "elsewhere"
    mine[1].rename(elsewhere)
    mine[1].symlink_to(elsewhere)
    (elsewhere / "parts").mkdir()
    assert await prune(keeping_two, bucket) == 1
    assert directories(keeping_two) == {
        *(theirs.name, "notes", "000001", "README", "latest", mine[1].name, mine[2].name)
    }
    assert (elsewhere / "embeddings.csv").exists()
    assert (elsewhere / "parts").exists()


async def test_paid_parts_stay_as_long_as_a_run_may_load_them(
    keeping_two: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(2)
    await sync(keeping_two, bucket.name)
    dead = await die_with_parts(keeping_two, bucket, dimension=256)
    done = [await leave_files(keeping_two, bucket) for _ in range(2)]
    # What a worker leaves on the disk of its machine.
    (done[1] / "parts").mkdir()
    await prune(keeping_two, bucket)
    assert (dead / "parts" / "part-000001.csv").exists()
    assert done[1].exists()
    assert not (done[1] / "parts").exists()
    # A machine that only has workers: the next run of the space is elsewhere, and plans anew.
    elsewhere = dead.parent.with_name("elsewhere")
    await sync(
        keeping_two.model_copy(update={"data_directory": elsewhere}), bucket.name, dimension=256
    )
    await prune(keeping_two, bucket)
    assert not dead.exists()
