"""Tasks that ask the model."""

from prefect import task
from prefect.logging import get_run_logger

from tasks.core.embedding import embed_batch as embedding
from tasks.core.runs.run import current_run
from tasks.core.types import Batch, BatchReport, SyncPlan
from tasks.names import embed_name
from tasks.retrying import DURABLE


@task(task_run_name=embed_name, **DURABLE)  # type: ignore[arg-type]  # see names.py
async def embed_batch(batch: Batch, plan: SyncPlan | None = None) -> BatchReport:  # noqa: ARG001 - edge
    """Embed one batch, each image kept in the batch's CSV part as it is finished."""
    report = await embedding.embed_batch(current_run(), batch.number)
    get_run_logger().info(
        "Embedded %d of %d images in %d calls; %d refused, %d gone, %d left for the next run.",
        report.embedded,
        report.images,
        report.calls,
        report.refused,
        report.gone,
        report.pending,
    )
    return report
