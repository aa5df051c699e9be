"""What a run without changes takes as a whole process, beside the same of an earlier commit.

BIRDWALK_BENCH_BASE names a work tree of that commit: git worktree add DIRECTORY COMMIT.
"""

import os
from contextlib import AsyncExitStack
from pathlib import Path

from deployments.local.vertex.options import ModelServerOptions
from tests.bench.figures import Bar, Figure
from tests.bench.listing_stub import served_listing
from tests.bench.session import ROOT, Session, Spent
from tests.support.databases import fresh_database

TITLE = "Start to exit: a run without changes over 3,786 images, Prefect already up"
IMAGES = 3_786
INDEX = "photos"
REPETITIONS = 5
PEER_SECONDS = 1.8
"""CocoIndex, on a machine like this one, for as many images."""


async def measure(session: Session) -> list[Figure]:
    """Run this tree's flow and the base's in turns, each on a database of its own."""
    await session.set_model(ModelServerOptions(instant=True))
    base = os.environ.get("BIRDWALK_BENCH_BASE")
    trees = (ROOT, Path(base)) if base else (ROOT,)
    spent: dict[Path, list[Spent]] = {tree: [] for tree in trees}
    server = session.addresses.database_url
    with served_listing(IMAGES) as endpoint:
        async with AsyncExitStack() as databases:
            environments = {}
            for tree in trees:
                database = await databases.enter_async_context(fresh_database(server, "template1"))
                environments[tree] = {
                    "BIRDWALK_DATABASE_URL": database,
                    "BIRDWALK_STORAGE_ENDPOINT": endpoint,
                }
            # The first run of each fills its index.
            for _ in range(1 + REPETITIONS):
                for tree in trees:
                    run = await session.run_flow(INDEX, environment=environments[tree], tree=tree)
                    spent[tree].append(run)
    # The best: what others took of the machine is not ours.
    seconds = [min(run.seconds for run in spent[tree][1:]) for tree in trees]
    work = [min(run.processor_seconds for run in spent[tree][1:]) for tree in trees]
    figures = [
        Figure("from start to exit", seconds[0], PEER_SECONDS, "CocoIndex", "s"),
        Figure("processor time", work[0], seconds[0], "from start to exit", "s"),
    ]
    if base:
        bar = Bar("ratio", "at most", 0.6)
        figures += [
            Figure("from start to exit", seconds[0], seconds[1], "the base", "s", bar),
            Figure("processor time", work[0], work[1], "the base", "s", bar),
        ]
    return figures
