"""Open a run inside a flow, and show how it goes: progress while it lasts, a summary at its end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

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

from tasks.core.errors import BirdwalkError, DatabaseError
from tasks.core.maintenance import prune
from tasks.core.reports.progress import progress_sentence
from tasks.core.reports.summary import summary_markdown
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import Run
from tasks.core.runs.summary import summarise_now
from tasks.core.settings import get_settings

SECONDS_BETWEEN_REPORTS = 2.0


@asynccontextmanager
async def watched_run(options: SyncOptions) -> AsyncIterator[Run]:
    """Yield an open run that reports itself in Prefect's UI, also when it fails.

    Raises:
        BirdwalkError: as core.opening.open_run.
    """
    async with open_run(options, get_settings(), f"run {runtime.flow_run.name}") as run:
        # Each by itself: one that cannot be written must not silence the other.
        shows = (_show_in_prefect(run), _show_in_terminal(run))
        reporters = [asyncio.create_task(show) for show in shows]
        verdict = "completed"
        try:
            yield run
            await prune_run(run)
        except BaseException as error:
            verdict = f"failed ({type(error).__name__})"
            raise
        finally:
            await _end(reporters)
            await _write_summary(run, verdict)


async def prune_run(run: Run) -> None:
    """Remove what the index needs no more, and say so; a plan removes nothing."""
    if run.options.plan_only:
        return
    try:
        contents = await prune.prune_contents(run)
        files = await prune.prune_files(run)
    except DatabaseError as error:
        get_run_logger().warning("What is not needed any more was left: %s", error)
        return
    if contents:
        get_run_logger().info(
            "Removed %d vectors whose content no image has had for %d days (BIRDWALK_UNUSED_DAYS).",
            contents,
            run.settings.unused_days,
        )
    if files:
        get_run_logger().info(
            "Removed the files of %d earlier runs of %s; those of the last %d stay"
            " (BIRDWALK_RUNS_KEPT).",
            files,
            run.options.index,
            run.settings.runs_kept,
        )


async def _show_in_prefect(run: Run) -> None:
    page = _ProgressPage(run)
    try:
        while True:
            await page.show()
            await asyncio.sleep(SECONDS_BETWEEN_REPORTS)
    finally:
        await page.show()


@dataclass(slots=True)
class _ProgressPage:
    """The artifact `progress`; made when Prefect's server takes it, at once or later."""

    run: Run
    artifact: UUID | None = None
    failed: bool = False

    async def show(self) -> None:
        sentence = progress_sentence(self.run)
        # What has to be done is not known before there is a plan.
        percent = self.run.progress.percent if self.run.plan else 0.0
        try:
            if self.artifact is None:
                self.artifact = await acreate_progress_artifact(percent, "progress", sentence)
            else:
                await aupdate_progress_artifact(self.artifact, percent, sentence)
        except (HTTPError, PrefectHTTPStatusError) as error:
            if not self.failed:
                _say_not_written("progress", error)
            self.failed = True
        else:
            self.failed = False


async def _show_in_terminal(run: Run) -> None:
    """Keep a line below the log, where somebody watches in a terminal."""
    if not sys.stderr.isatty():
        return
    with Console(stderr=True).status("") as line:
        while True:
            line.update(progress_sentence(run))
            await asyncio.sleep(SECONDS_BETWEEN_REPORTS)


async def _end(reporters: Sequence[asyncio.Task[None]]) -> None:
    for reporter in reporters:
        reporter.cancel()
    for problem in await asyncio.gather(*reporters, return_exceptions=True):
        if isinstance(problem, Exception):
            _say_not_written("progress", problem)


def _say_not_written(what: str, error: Exception) -> None:
    # The run goes on: the tables are the ledger.
    get_run_logger().warning("The artifact %s could not be written: %s", what, error)


async def _write_summary(run: Run, verdict: str) -> None:
    try:
        text = summary_markdown(await summarise_now(run), verdict)
    except BirdwalkError as error:
        text = f"# Run {run.run_id}: {verdict}\n\nIts counts could not be read: {error}\n"
    try:
        await acreate_markdown_artifact(key="run-summary", markdown=text, description=verdict)
    except (HTTPError, PrefectHTTPStatusError) as error:
        _say_not_written("run-summary", error)
