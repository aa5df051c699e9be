"""Show an earlier space of an index again: instant, free, and without a call."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.terminal.outcomes import switched_sentence
from tasks.core.spaces.drift import SpaceReport
from tasks.maintenance import list_spaces, switch_space


@flow(
    name="rollback",
    flow_run_name="roll back {index}",
    description="Shows a space of an index again that readers saw before.",
)
async def rollback(
    *,
    index: Annotated[str, Field(min_length=1, max_length=63)] = "image_embeddings",
    space: Annotated[int, Field(ge=1)] | None = None,
    max_incomplete: Annotated[float, Field(ge=0, le=1)] = 0.1,
) -> State[SpaceReport]:
    """Show another of an index's spaces, and list them.

    The next embed-images run publishes the space of its own model and dimension again: change the
    deployment's parameters too, if this is to last.

    Args:
        index: Name of the view that readers query.
        space: Number of the space to show; by default the one published before.
        max_incomplete: Share of the images that readers see now that may have no vector in it.
    """
    try:
        report = await switch_space(index, space, max_incomplete)
    finally:
        await list_spaces(index)
    return Completed(message=switched_sentence(report), data=report)


if __name__ == "__main__":
    from flows.terminal.run import run_flow_from_command_line
    from flows.terminal.show import show_switched

    run_flow_from_command_line(rollback, show_switched)
