"""Check that an index is as its bucket was listed, recently, and that it answers."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from tasks.core.maintenance.check_index import HealthLimits
from tasks.maintenance import check_health


@flow(
    name="check-index",
    flow_run_name="check {index}",
    description="Looks at an index from outside, and fails when it has drifted.",
)
async def check_index(
    *,
    index: Annotated[str, Field(min_length=1, max_length=63)] = "image_embeddings",
    max_drift: Annotated[float, Field(ge=0, le=1)] = 0.01,
    max_listing_hours: Annotated[float, Field(gt=0, le=87_600)] = 36.0,
) -> State[str]:
    """Compare an index with what was last listed, and its searches with exact ones; change nothing.

    Args:
        index: Name of the view that readers query.
        max_drift: Share of what was listed that may be missing, outdated or gone, beside what the
            last completed run has left for the next.
        max_listing_hours: Hours since a bucket of the index was last listed.
    """
    sentence = await check_health(index, HealthLimits(max_drift, max_listing_hours))
    return Completed(message=sentence, data=sentence)


if __name__ == "__main__":
    from flows.terminal.run import run_flow_from_command_line
    from flows.terminal.show import show_sentence

    run_flow_from_command_line(check_index, show_sentence)
