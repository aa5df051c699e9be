"""Flows called in this process, and recorded by the stack's Prefect server as a worker's are."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterTaskRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local.stack import Stack
from tasks.core.settings import Settings, get_settings

PATIENCE_SECONDS = 90.0


@contextmanager
def flows_of(stack: Stack, settings: Settings) -> Iterator[None]:
    """Let flows that are called in this process use a stack, and the database of the settings."""
    environment = {
        **stack.addresses.environment(),
        "BIRDWALK_DATABASE_URL": settings.database_url.get_secret_value(),
        "BIRDWALK_DATA_DIRECTORY": str(settings.data_directory),
    }
    recording = temporary_settings({PREFECT_API_URL: stack.addresses.prefect_api_url})
    with pytest.MonkeyPatch.context() as patch, recording:
        for name, value in environment.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        try:
            yield
        finally:
            get_settings.cache_clear()


async def record(client: PrefectClient, flow: Flow[..., Any], **parameters: Any) -> FlowRun:
    """Run a flow to its end, whatever that is, and return its run with all it has recorded."""
    state = await flow(**parameters, return_state=True)
    assert state.state_details.flow_run_id is not None
    run = await client.read_flow_run(state.state_details.flow_run_id)

    async def all_ended() -> bool:
        runs = await task_runs_of(client, run)
        return all(each.state is not None and each.state.is_final() for each in runs)

    await until(all_ended)
    return run


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the server will show when it has worked off its queue."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.1)


async def task_runs_of(client: PrefectClient, run: FlowRun) -> list[TaskRun]:
    """Return the task runs of a flow run that the server knows."""
    ours = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    return await client.read_task_runs(flow_run_filter=ours)


async def artifact_of(client: PrefectClient, run: UUID, key: str) -> Artifact:
    """Return the one artifact of a key that a flow run made."""
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=[key])
    )
    [artifact] = await client.read_artifacts(artifact_filter=wanted)
    return artifact


async def log_of(client: PrefectClient, run: TaskRun) -> list[str]:
    """Return the log of a task run, its first line first."""
    ours = LogFilter(task_run_id=LogFilterTaskRunId(any_=[run.id]))
    lines = await client.read_logs(ours)
    return [line.message for line in sorted(lines, key=lambda line: line.timestamp)]
