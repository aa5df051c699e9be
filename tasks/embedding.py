"""Tasks that ask the model, and say what became of that."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from tasks.core.embedding import embed_batch as embedding
from tasks.core.embedding import outcomes
from tasks.core.reports import outcomes as outcome_pages
from tasks.core.runs.run import current_run
from tasks.core.text import count
from tasks.core.types import Batch, Counts, OutcomeReport
from tasks.names import embed_name
from tasks.retrying import DURABLE


@task(task_run_name=embed_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def embed_batch(batch: Batch) -> Counts:
    """Embed one batch, each answer kept in the batch's CSV part as it comes."""
    counts = await embedding.embed_batch(current_run(), batch.number)
    get_run_logger().info(
        "Embedded %d of %d images in %d calls; %d refused, %d gone, %d left for the next run.",
        counts.embedded,
        counts.images,
        counts.calls,
        counts.refused,
        counts.gone,
        counts.leftover,
    )
    return counts


@task(task_run_name="report outcomes", **DURABLE)
async def report_outcomes() -> OutcomeReport:
    """Show what was refused or is left, by reason; fail above max_refusals or max_leftovers."""
    run = current_run()
    refusals = await outcomes.list_refusals(run)
    refused = sum(group.images for group in refusals)
    if refusals:
        await acreate_markdown_artifact(
            key="refusals",
            markdown=outcome_pages.refusals_markdown(refusals),
            description=f"{count(refused, 'image')} the model will not accept, not asked again.",
        )
    leftovers = await outcomes.list_leftovers(run)
    leftover = sum(group.images for group in leftovers)
    if leftovers:
        await acreate_markdown_artifact(
            key="leftovers",
            markdown=outcome_pages.leftovers_markdown(leftovers),
            description=f"Images that got no vector in their time: {leftover:,}."
            " The next run asks for them again.",
        )
    outcomes.check_refusals(run, refusals)
    outcomes.check_leftovers(run, leftovers)
    return OutcomeReport(refused, leftover)
