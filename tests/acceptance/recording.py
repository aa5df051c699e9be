"""Run flows one after the other in one process, as a worker would: each start takes seconds.

    python -m tests.acceptance.recording '[{"flow": "check_index"}, ...]'

Prints the id of each flow run, and how many of its task runs have ended.
"""

import asyncio
import json
import logging
import os
import sys
from typing import Any

from deployments.local.vertex.options import ModelServerOptions
from flows.check_index import check_index
from flows.drop_space import drop_space
from flows.embed_images import embed_images
from flows.find_duplicates import find_duplicates
from flows.find_similar import find_similar
from flows.rollback import rollback
from tasks.core.settings import get_settings
from tests.support.servers.statistics import configure

FLOWS: dict[str, Any] = {
    flow.fn.__name__: flow
    for flow in (check_index, drop_space, embed_images, find_duplicates, find_similar, rollback)
}


class _Ended(logging.Handler):
    """Counts the task runs that Prefect's log says have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Finished in state"):
            self.runs.add(str(getattr(record, "task_run_id", "")))


async def run(
    flow: str,
    parameters: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a flow to its end, whatever that is; the model behaves as told meanwhile."""
    os.environ.update(environment or {})
    get_settings.cache_clear()
    endpoint = get_settings().vertex_endpoint
    assert endpoint is not None
    await configure(endpoint, ModelServerOptions(**(model or {})))
    ended, log = _Ended(), logging.getLogger("prefect.task_runs")
    log.addHandler(ended)
    try:
        state = await FLOWS[flow](**(parameters or {}), return_state=True)
    finally:
        log.removeHandler(ended)
        await configure(endpoint, ModelServerOptions())
    sys.stdout.write(f"{state.state_details.flow_run_id} {len(ended.runs)}\n")


async def main() -> None:
    """Run what the first argument says."""
    for step in json.loads(sys.argv[1]):
        await run(**step)


if __name__ == "__main__":
    asyncio.run(main())
