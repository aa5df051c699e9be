"""Runs that go on, and runs that failed, as Prefect's server and its interfaces show them."""

import asyncio
import secrets

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterName,
)
from prefect.client.schemas.objects import Artifact

from tests.acceptance.browser import Screen
from tests.acceptance.programs import Program, end_of
from tests.acceptance.recorded import log_of, task_runs_of
from tests.acceptance.shown import ShownRuns

SAYS = {
    "BucketNotFound": ("Bucket 'no-such-bucket' does not exist.", "Check the name"),
    "GuardStopped": ("47 calls cost about", "set max_price="),
    "TooManyRefusals": ("3 of 47 images (6.4%) were refused", "set max_refusals=0.064"),
    "SystemicFailure": ("Permission 'aiplatform.endpoints.predict' denied", "Grant the caller"),
    "DatabaseUnavailable": ("127.0.0.1", "BIRDWALK_DATABASE_URL"),
}
"""What failed, and what to do about it."""

IMAGES = 20
LOOK_AT = 3
"""Which of the sentences of progress to look at in the browser: the run is under way then."""


@pytest.mark.parametrize("kind", SAYS)
async def test_a_failed_run_says_what_failed_and_what_to_do(
    shown: ShownRuns, prefect_client: PrefectClient, kind: str
) -> None:
    run = shown.failed[kind]
    assert run.state is not None
    message = run.state.message or ""
    assert message.startswith(f"Flow run encountered an exception: {kind}: ")
    assert all(text in message for text in SAYS[kind])
    for task in await task_runs_of(prefect_client, run.id):
        log = await log_of(prefect_client, task)
        assert not any("Traceback" in line for line in log)
        if task.state is not None and task.state.is_failed():
            [cause] = [line for line in log if kind in line]
            assert log.index(cause) <= 1, "the cause is among the first lines"
            assert all(text in cause for text in SAYS[kind])


@pytest.mark.parametrize("kind", ["BucketNotFound", "SystemicFailure"])
async def test_one_click_on_the_failed_task_shows_the_cause(
    shown: ShownRuns, prefect_client: PrefectClient, screen: Screen, kind: str
) -> None:
    run = shown.failed[kind]
    [failed] = [
        task
        for task in await task_runs_of(prefect_client, run.id)
        if task.state is not None and task.state.is_failed()
    ]
    page = await screen.open(f"runs/flow-run/{run.id}", shows=run.name)
    await page.get_by_text("Logs", exact=True).click()
    for text in SAYS[kind]:
        await screen.reads(text)
    if kind == "SystemicFailure":
        await screen.keep("failed-run")
    await page.get_by_text("Task Runs", exact=True).click()
    await page.get_by_text(failed.name, exact=True).first.click()
    await page.wait_for_url(f"**/task-run/{failed.id}*")
    for text in SAYS[kind]:
        await screen.reads(text)
    assert "Traceback" not in await screen.text()
    if kind == "SystemicFailure":
        await screen.keep("failed-task")


async def test_progress_moves_while_a_run_lasts(
    embed_images: Program, prefect_client: PrefectClient, screen: Screen
) -> None:
    if screen.interface == "v1":
        pytest.skip("one slow run is enough, and both interfaces read the same artifact")
    index = f"slow_{secrets.token_hex(4)}"
    options = ("--bucket", "birdwalk", "--prefix", "planes/", "--index", index)
    process = await embed_images.start(*options, "--requests-per-minute", "75")
    ended = asyncio.create_task(end_of(process))
    seen: dict[str, float] = {}
    while not ended.done():
        if artifact := await _progress(prefect_client, index):
            seen[str(artifact.description)] = float(str(artifact.data))
            if len(seen) == LOOK_AT:
                await screen.open_artifact(artifact)
                await screen.reads(f"of {IMAGES} images,")
                await screen.keep("progress-of-a-run")
        await asyncio.sleep(0.2)
    assert (await ended).status == 0
    percents = list(seen.values())
    assert len(set(percents)) >= 3, seen
    assert percents == sorted(percents)
    assert any("about" in sentence for sentence in seen), "no time left is told"


async def _progress(client: PrefectClient, index: str) -> Artifact | None:
    named = FlowRunFilter(name=FlowRunFilterName(like_=f"into {index}"))
    for run in await client.read_flow_runs(flow_run_filter=named):
        wanted = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]),
            key=ArtifactFilterKey(any_=["progress"]),
        )
        for artifact in await client.read_artifacts(artifact_filter=wanted):
            return artifact
    return None
