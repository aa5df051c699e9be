"""Open a run inside a flow, and show how it goes: progress while it lasts, a summary at its end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from httpx import HTTPError
from prefect import runtime
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger
from rich.console import Console
from rich.status import Status

from tasks.core import pruning
from tasks.core.errors import BirdwalkError, DatabaseError
from tasks.core.options import SyncOptions
from tasks.core.progress import progress_sentence
from tasks.core.run import Run, open_run
from tasks.core.settings import get_settings
from tasks.core.summary import summarise, summary_markdown

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
            await prune_files(run)
        except BaseException as error:
            verdict = f"failed ({type(error).__name__})"
            raise
        finally:
            reporter.cancel()
            with suppress(asyncio.CancelledError):
                await reporter
            await _write_summary(run, verdict)


async def prune_files(run: Run) -> None:
    """Remove the files of the index's runs of long ago, and say so; a plan removes nothing."""
    if run.options.plan_only:
        return
    try:
        removed = await pruning.prune_runs(run)
    except DatabaseError as error:
        get_run_logger().warning("The files of earlier runs were left as they are: %s", error)
        return
    if removed:
        get_run_logger().info(
            "Removed the files of %d earlier runs of %s; those of the last %d stay"
            " (BIRDWALK_RUNS_KEPT).",
            removed,
            run.options.index,
            run.settings.runs_kept,
        )


async def _report_progress(run: Run) -> None:
    with _shown_or_said("progress"):
        artifact = await acreate_progress_artifact(
            progress=0.0, key="progress", description=progress_sentence(run)
        )
        try:
            with _terminal_line() as line:
                while True:
                    await asyncio.sleep(SECONDS_BETWEEN_REPORTS)
                    sentence = progress_sentence(run)
                    with _shown_or_said("progress"):
                        await aupdate_progress_artifact(artifact, run.progress.percent, sentence)
                    if line is not None:
                        line.update(sentence)
        finally:
            await aupdate_progress_artifact(artifact, run.progress.percent, progress_sentence(run))


@contextmanager
def _shown_or_said(what: str) -> Iterator[None]:
    """Let a run go on whose Prefect server does not take a page: the tables are the ledger."""
    try:
        yield
    except (HTTPError, PrefectHTTPStatusError) as error:
        get_run_logger().warning("The artifact %s could not be written: %s", what, error)


@contextmanager
def _terminal_line() -> Iterator[Status | None]:
    """Yield a line that stays below the log, where somebody watches in a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with Console(stderr=True).status("") as status:
        yield status


async def _write_summary(run: Run, verdict: str) -> None:
    try:
        text = summary_markdown(await summarise(run), verdict)
    except BirdwalkError as error:
        text = f"# Run {run.run_id}: {verdict}\n\nIts counts could not be read: {error}\n"
    with _shown_or_said("run-summary"):
        await acreate_markdown_artifact(key="run-summary", markdown=text, description=verdict)
