"""The tasks that prove a sync before anybody sees it, and show it."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from tasks.core.publishing import publish as publishing
from tasks.core.publishing import verify as gate
from tasks.core.reports import contact_sheet
from tasks.core.reports import gate as gate_page
from tasks.core.runs.run import current_run
from tasks.core.text import count
from tasks.core.types import Publication, Verdict
from tasks.names import publish_name, verify_name
from tasks.retrying import DURABLE


@task(task_run_name=verify_name, **DURABLE)
async def verify() -> Verdict:
    """Check what would be shown, find the images in it that are nearest to one, and show them."""
    run = current_run()
    verdict = await gate.verify(run)
    await _show_gate(verdict)
    if verdict.neighbours:
        await contact_sheet.draw_contact_sheet(run, verdict)
        await _show_neighbours(verdict, run.contact_sheet.read_bytes())
    gate.check_verdict(verdict)
    return verdict


async def _show_gate(verdict: Verdict) -> None:
    failed = len(verdict.failed)
    await acreate_markdown_artifact(
        key="gate",
        markdown=gate_page.gate_markdown(verdict),
        description=f"{count(failed, 'check')} failed." if failed else "Every check held.",
    )


async def _show_neighbours(verdict: Verdict, png: bytes) -> None:
    await acreate_markdown_artifact(
        key="nearest-neighbours",
        markdown=contact_sheet.contact_sheet_markdown(verdict, png),
        description=f"The images nearest to {verdict.query}.",
    )


@task(task_run_name=publish_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def publish(index: str) -> Publication:
    """Make the listing what readers see, in one transaction."""
    run = current_run()
    shown = await publishing.publish(run)
    get_run_logger().info(
        "%s shows %s of %s: %d added or changed, %d removed.",
        index,
        count(shown.images, "image"),
        run.space.label,
        shown.changed,
        shown.removed,
    )
    return shown
