"""How Prefect treats every task here: no caching, and retries only where they can help.

An image's own retries are inside its batch; these are for faults that take the batch with them.
"""

from collections.abc import Awaitable, Callable
from http.client import INTERNAL_SERVER_ERROR
from typing import Any, TypedDict

from httpx import HTTPError, HTTPStatusError
from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun

from tasks.core.errors import BirdwalkError, DatabaseUnavailable
from tasks.core.runs.outages import PAUSES_WITHOUT_DATABASE
from tasks.logs import shorten_our_errors, show_details

UNKNOWN_ERRORS_RETRIED = 3
"""What nobody foresaw is more often a mistake of ours than a fault that passes."""


async def is_worth_retrying(_task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether another attempt may end differently."""
    try:
        await state.result()
    except DatabaseUnavailable:
        return True
    except BirdwalkError:
        return False
    except HTTPStatusError as error:
        passes = error.response.status_code >= INTERNAL_SERVER_ERROR
        return passes or run.run_count <= UNKNOWN_ERRORS_RETRIED
    except HTTPError:  # Prefect's server, where an artifact is written
        return True
    except Exception:  # noqa: BLE001 - the question is what kind it is; Prefect still raises it
        return run.run_count <= UNKNOWN_ERRORS_RETRIED
    return False


shorten_our_errors()
show_details()


class TaskOptions(TypedDict):
    """The options that all tasks share."""

    cache_policy: CachePolicy
    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], Awaitable[bool]]


DURABLE = TaskOptions(
    cache_policy=NO_CACHE,
    retries=len(PAUSES_WITHOUT_DATABASE),
    retry_delay_seconds=list(PAUSES_WITHOUT_DATABASE),
    retry_condition_fn=is_worth_retrying,
)
"""For the steps of a run, which outlasts a restart of the database."""

BRIEF = TaskOptions(
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[1, 5, 15],
    retry_condition_fn=is_worth_retrying,
)
"""For what somebody waits for in front of a screen."""
