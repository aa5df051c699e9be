"""The task that proves the index before anybody sees it."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from tasks.core import pictures, verdicts
from tasks.core.run import current_run
from tasks.core.types import IndexReport, Verdict
from tasks.retrying import DURABLE


@task(task_run_name="verify against the bucket", **DURABLE)
async def verify(index: IndexReport) -> Verdict:  # noqa: ARG001 - edge
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
    table = [
        {
            "check": check.name,
            "held": "yes" if check.passed else "NO",
            "found": check.found,
            "examples": ", ".join(check.examples),
        }
        for check in verdict.checks
    ]
    await acreate_table_artifact(key="gate", table=table, description="What the gate checked.")


async def _show_neighbours(verdict: Verdict, png: bytes) -> None:
    await acreate_markdown_artifact(
        key="nearest-neighbours",
        markdown=pictures.contact_sheet_markdown(verdict, png),
        description=f"The images nearest to {verdict.query}.",
    )
