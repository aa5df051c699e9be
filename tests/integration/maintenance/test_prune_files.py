"""The files of runs of long ago go; what somebody may still want stays."""

import asyncio
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.core.database.connections import open_database
from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.maintenance.drop_space import drop_space
from tasks.core.maintenance.prune_files import prune_runs
from tasks.core.runs.lifecycle import open_run
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch
from tests.support.sync import options, prepare, sync


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
        return await prune_runs(run)


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
    assert await prune(keeping_two, bucket) == 1
    assert directories(keeping_two) == {
        *(theirs.name, "notes", "000001", "README", "latest", mine[1].name, mine[2].name)
    }
    assert (elsewhere / "embeddings.csv").exists()


async def test_paid_parts_stay_until_their_space_is_dropped(
    keeping_two: Settings, bucket: LocalBucket, url: str
) -> None:
    bucket.put_pictures(2)
    await sync(keeping_two, bucket.name)
    dead = await die_with_parts(keeping_two, bucket, dimension=256)
    done = [await leave_files(keeping_two, bucket) for _ in range(2)]
    # What a shard leaves on the disk of its machine.
    (done[1] / "parts").mkdir()
    await prune(keeping_two, bucket)
    assert (dead / "parts" / "part-000001.csv").exists()
    assert done[1].exists()
    assert not (done[1] / "parts").exists()
    # Killed, it would have counted nothing.
    await execute(url, "DELETE FROM birdwalk.batches WHERE run_id = 2")
    await execute(url, "UPDATE birdwalk.runs SET calls = 0, price_usd = 0 WHERE run_id = 2")
    async with open_database(keeping_two) as database:
        await drop_space(database, keeping_two, "image_embeddings", 2)
    paid = "SELECT calls, price_usd > 0 FROM birdwalk.runs WHERE run_id = 2"
    assert await fetch(url, paid) == [(2, True)]
    assert dead.exists()
    assert not (dead / "parts").exists()
    await prune(keeping_two, bucket)
    assert not dead.exists()


async def test_parts_that_no_run_has_a_work_list_for_do_not_stay(
    keeping_two: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(2)
    dead = await die_with_parts(keeping_two, bucket)
    # A machine that only has shards: the next run is elsewhere, and does not find them.
    elsewhere = dead.parent.with_name("elsewhere")
    await sync(keeping_two.model_copy(update={"data_directory": elsewhere}), bucket.name)
    for _ in range(2):
        await leave_files(keeping_two, bucket)
    await prune(keeping_two, bucket)
    assert not dead.exists()
