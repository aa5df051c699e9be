"""The task that proves the index before anybody sees it."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact

from tasks.core import pictures, verdicts
from tasks.core.run import current_run
from tasks.core.types import IndexReport, Verdict
from tasks.core.wording import count
from tasks.names import verify_name
from tasks.retrying import DURABLE


@task(task_run_name=verify_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def verify(index: IndexReport) -> Verdict:  # noqa: ARG001 - name and edge
    """Check the table against the listing, ask the seed's question, and show the answer."""
    run = current_run()
    verdict = await verdicts.verify(run)
    await _show_gate(verdict)
    if verdict.neighbours:
        await pictures.draw_contact_sheet(run, verdict)
        await _show_neighbours(verdict, run.contact_sheet.read_bytes())
    verdicts.refuse_failed(verdict)
    return verdict


async def _show_gate(verdict: Verdict) -> None:
    failed = len(verdict.failed)
    await acreate_markdown_artifact(
        key="gate",
        markdown=verdicts.gate_markdown(verdict),
        description=f"{count(failed, 'check')} failed." if failed else "Every check held.",
    )


async def _show_neighbours(verdict: Verdict, png: bytes) -> None:
    await acreate_markdown_artifact(
        key="nearest-neighbours",
        markdown=pictures.contact_sheet_markdown(verdict, png),
        description=f"The images nearest to {verdict.query}.",
    )
