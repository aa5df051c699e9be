"""Open a run inside a flow, and show how it goes: progress while it lasts, a summary at its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prefect import runtime
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)

from tasks.core.errors import BirdwalkError
from tasks.core.run import Run, SyncOptions, open_run
from tasks.core.settings import get_settings
from tasks.core.summary import progress_sentence, summarise, summary_markdown

SECONDS_BETWEEN_REPORTS = 2.0


@asynccontextmanager
async def watched_run(options: SyncOptions) -> AsyncIterator[Run]:
    """Yield an open run that reports itself in Prefect's UI, also when it fails.

    Raises:
        BirdwalkError: as core.run.open_run.
    """
    async with open_run(options, get_settings(), f"run {runtime.flow_run.name}") as run:
        reporter = asyncio.create_task(_report_progress(run))
        verdict = "completed"
        try:
            yield run
        except BaseException as error:
            verdict = f"failed ({type(error).__name__})"
            raise
        finally:
            reporter.cancel()
            with suppress(asyncio.CancelledError):
                await reporter
            await _write_summary(run, verdict)


async def _report_progress(run: Run) -> None:
    artifact = await acreate_progress_artifact(
        progress=0.0, key="progress", description="Listing the bucket."
    )
    try:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_REPORTS)
            if run.plan is not None:
                await aupdate_progress_artifact(
                    artifact, run.progress.percent, progress_sentence(run)
                )
    finally:
        await aupdate_progress_artifact(artifact, run.progress.percent, progress_sentence(run))


async def _write_summary(run: Run, verdict: str) -> None:
    try:
        summary = await summarise(run)
    except BirdwalkError as error:
        text = f"# Run {run.run_id}: {verdict}\n\nIts counts could not be read: {error}\n"
    else:
        text = summary_markdown(summary, verdict)
    await acreate_markdown_artifact(key="run-summary", markdown=text, description=verdict)
