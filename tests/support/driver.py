"""The flow in a process of its own, to be killed: with Prefect's engine, or without it.

Without it, what runs is the flow's own function, so the order of the steps is the flow's. Each task
is its plain function, begun again by the task's own rules, only sooner. What would go to Prefect's
server goes elsewhere: logs into a file, artifacts nowhere.

Processes are forked from one that has imported everything: a start takes milliseconds.
"""

import asyncio
import functools
import importlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from prefect import Flow, Task
from prefect.client.schemas.objects import State, StateType
from prefect.logging import get_run_logger

from tasks.core.errors import BirdwalkError

HASTE = 0.25
"""Share of a task's delays between its attempts: our Postgres is back within a second or two."""

FLOW_RUN = UUID(int=0)

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["pytest", "tests.support.driver", "flows.embed_images"])


def start_driver(
    parameters: Mapping[str, object], environment: Mapping[str, str], log: Path
) -> "Driver":
    """Start the flow with these parameters, without Prefect's engine.

    It exits with 0 when the flow completed, and with 1 when it failed; its last words are in the
    log.
    """
    return Driver(_drive_alone, dict(parameters), dict(environment), str(log))


def start_flow(
    parameters: Mapping[str, object], environment: Mapping[str, str], log: Path
) -> "Driver":
    """Start the flow with these parameters, on the Prefect server of this process's environment.

    Prefect reads its settings when it is imported: PREFECT_API_URL must be set before the first
    start of all. As to the rest, it is as start_driver.
    """
    return Driver(_drive, dict(parameters), dict(environment), str(log))


class Driver:
    """A process of the flow."""

    def __init__(self, drive: Callable[..., None], *arguments: object) -> None:
        self._process = _processes.Process(target=drive, args=arguments)
        self._process.start()

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def _drive_alone(parameters: dict[str, Any], environment: dict[str, str], log: str) -> None:
    leave_prefect_out()
    runtime = {"PREFECT__RUNTIME__FLOW_RUN__ID": str(FLOW_RUN)}
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _drive(parameters, {**environment, **runtime}, log)


def _drive(parameters: dict[str, Any], environment: dict[str, str], log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    flow = importlib.import_module("flows.embed_images").embed_images
    try:
        asyncio.run(flow(**parameters))
    except BirdwalkError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)


def leave_prefect_out() -> None:
    """Put plain functions in the place of flow and tasks, and of what talks to Prefect's server."""
    importlib.import_module("flows.embed_images")
    ours = [found for name, found in sys.modules.items() if name.startswith(("flows.", "tasks."))]
    for module in ours:
        for name, value in vars(module).copy().items():
            if isinstance(value, Flow):
                setattr(module, name, value.fn)
            elif isinstance(value, Task):
                setattr(module, name, _patient(value))
            elif value is get_run_logger:
                setattr(module, name, functools.partial(logging.getLogger, module.__name__))
            elif getattr(value, "__module__", None) == "prefect.artifacts":
                setattr(module, name, _leave_no_artifact)


def _patient(task: Task[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return a task's function, begun again as often as Prefect would."""
    delays = task.retry_delay_seconds
    worth_it = task.retry_condition_fn
    assert isinstance(delays, list)
    assert worth_it is not None

    @functools.wraps(task.fn)
    async def attempt(*arguments: Any, wait_for: object = None, **named: Any) -> Any:
        assert wait_for is None or isinstance(wait_for, list)  # an edge of Prefect's graph
        for count, delay in enumerate(delays[: task.retries], 1):
            try:
                return await task.fn(*arguments, **named)
            except Exception as error:
                failed: State[Any] = State(type=StateType.FAILED, data=error)
                run = SimpleNamespace(run_count=count)
                if not await worth_it(task, run, failed):  # type: ignore[arg-type, misc]  # as ours
                    raise
                logging.getLogger(__name__).warning("%s failed: %s", task.name, error)
            await asyncio.sleep(delay * HASTE)
        return await task.fn(*arguments, **named)

    return attempt


async def _leave_no_artifact(*_arguments: Any, **_named: Any) -> UUID:
    return FLOW_RUN
