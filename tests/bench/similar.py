"""What one question from the command line costs beyond its query, where no Prefect server is."""

import statistics
import time
from importlib.util import find_spec

from deployments.local.vertex.options import ModelServerOptions
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import open_searcher
from tests.bench.figures import Bar, Figure
from tests.bench.session import TINY, Session

TITLE = "Similar: one question with --json, without a Prefect server, 128 dimensions"
IMAGES = 200
IMAGE = f"{TINY}000007.png"
REPETITIONS = 5
NO_SERVER = {"PREFECT_API_URL": ""}


async def measure(session: Session) -> list[Figure]:
    """Ask an index from the command line, and in a process that has asked before."""
    await session.set_model(ModelServerOptions(instant=True))
    async with session.fresh_index() as index:
        await session.run_flow(index, "--prefix", TINY, "--limit", str(IMAGES))
        asked = ("--image-id", IMAGE, "--index", index, "--json")
        spent = [
            await session.run_python(*_command(), *asked, environment=NO_SERVER)
            for _ in range(REPETITIONS)
        ]
        query = await _time_query(session, index)
    return [
        Figure(
            "from start to exit",
            # The best: what others took of the machine is not ours.
            min(one.seconds for one in spent),
            query,
            "the query alone",
            "s",
            Bar("difference", "at most", 1.0),
        ),
        Figure(
            "processor time",
            min(one.processor_seconds for one in spent),
            query,
            "the query alone",
            "s",
        ),
    ]


def _command() -> tuple[str, ...]:
    if find_spec("deployments.command_line") is None:
        return ("-m", "flows.find_similar")
    return ("-c", "from deployments.command_line import main; main()", "similar")


async def _time_query(session: Session, index: str) -> float:
    spent = []
    async with open_searcher(session.settings) as searcher:
        for _ in range(REPETITIONS + 1):
            start = time.perf_counter()
            await find_similar(searcher, index, Question(image_id=IMAGE))
            spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])
