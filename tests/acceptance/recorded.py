"""What Prefect's server has recorded of runs, and runs to be recorded."""

import json
from typing import Any
from uuid import UUID

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

from tests.acceptance.programs import Program
from tests.support.waiting import until

PATIENCE_SECONDS = 90.0


async def record(
    client: PrefectClient, recording: Program, steps: list[dict[str, Any]]
) -> list[FlowRun]:
    """Run flows, and return their runs once the server shows all that they recorded."""
    finished = await recording.run(json.dumps(steps))
    assert finished.status == 0, finished.err
    runs = []
    for line in finished.out.splitlines():
        run, tasks = line.split()
        await _until_recorded(client, UUID(run), int(tasks))
        runs.append(await client.read_flow_run(UUID(run)))
    return runs


async def _until_recorded(client: PrefectClient, run: UUID, tasks: int) -> None:
    async def recorded() -> bool:
        found = await task_runs_of(client, run)
        return sum(each.state is not None and each.state.is_final() for each in found) == tasks

    await until(recorded, PATIENCE_SECONDS)


async def task_runs_of(client: PrefectClient, run: UUID) -> list[TaskRun]:
    """Return the task runs of a flow run that the server knows."""
    ours = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    return await client.read_task_runs(flow_run_filter=ours)


async def artifact_of(client: PrefectClient, run: UUID, key: str) -> Artifact:
    """Return the artifact of a key that a flow run made, the last where there are several."""
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=[key])
    )
    found = await client.read_artifacts(artifact_filter=wanted)
    return max(found, key=lambda artifact: str(artifact.created))


async def log_of(client: PrefectClient, run: TaskRun) -> list[str]:
    """Return the log of a task run, its first line first."""
    ours = LogFilter(task_run_id=LogFilterTaskRunId(any_=[run.id]))
    lines = await client.read_logs(ours)
    return [line.message for line in sorted(lines, key=lambda line: line.timestamp)]
