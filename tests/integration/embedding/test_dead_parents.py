"""Real processes share a run: when the one that holds it is killed, the others stop paying."""

import asyncio
import time

from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.databases import fetchval
from tests.support.model_server import ModelServer
from tests.support.sharded import STOPPED, start, variables
from tests.support.waiting import until

IMAGES = 120
SECONDS_TO_STOP = 30.0


async def test_two_shards_stop_within_seconds_after_their_run_was_killed(
    bucket: LocalBucket, settings: Settings, model_server: ModelServer, url: str
) -> None:
    bucket.put_pictures(IMAGES)
    await model_server.configure(instant=True)
    environment = variables(settings)
    # A batch each, which at this pace takes half a minute.
    parent = await start("run", bucket.name, 240, IMAGES // 2, environment=environment)
    assert parent.stdout is not None
    run_id = int(await parent.stdout.readline())
    shards = [
        await start("shard", run_id, shard, 2, IMAGES, IMAGES // 2, environment=environment)
        for shard in range(2)
    ]
    ends = [asyncio.create_task(shard.communicate()) for shard in shards]

    async def both_pay() -> bool:
        shown = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'run .* shard [01]'"
        assert not any(end.done() for end in ends)
        return await fetchval(url, shown) == 2 and await model_server.calls() >= 6

    await until(both_pay, 60)
    parent.kill()
    await parent.wait()
    killed_at = time.monotonic()
    paid, paid_at = 0, killed_at
    while not all(end.done() for end in ends):
        await asyncio.sleep(0.2)
        if (calls := await model_server.calls()) > paid:
            paid, paid_at = calls, time.monotonic()
    assert paid_at - killed_at < SECONDS_TO_STOP
    for shard, end in zip(shards, ends, strict=True):
        said = end.result()[1].decode()
        assert shard.returncode == STOPPED, said
        assert f"SpaceBusy: Run {run_id} does not hold index" in said
    assert await model_server.calls() == paid < IMAGES
    assert await fetchval(url, "SELECT count(*) FROM birdwalk.batches") == 0
    parts = sorted(settings.data_directory.glob("runs/*/parts/*.csv"))
    rows = sum(part.read_bytes().count(b"\n") for part in parts)
    # What is paid is kept, but for a call under way when it ended.
    assert paid - 2 <= rows <= paid
