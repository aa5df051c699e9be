"""Delete a space of an index that is not needed any more."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.terminal.outcomes import dropped_sentence
from tasks.core.maintenance.drop_space import DroppedSpace
from tasks.maintenance import drop_space as drop_one_space
from tasks.maintenance import list_spaces


@flow(
    name="drop-space",
    flow_run_name="drop space {space} of {index}",
    description="Deletes a space of an index that readers do not see.",
)
async def drop_space(
    *,
    space: Annotated[int, Field(ge=1)],
    index: Annotated[str, Field(min_length=1, max_length=63)] = "image_embeddings",
) -> State[DroppedSpace]:
    """Delete a space with its vectors; the one that the index shows is left alone.

    Args:
        space: Number of the space, as rollback lists it.
        index: Name of the view that readers query.
    """
    dropped = await drop_one_space(index, space)
    await list_spaces(index)
    return Completed(message=dropped_sentence(dropped), data=dropped)


if __name__ == "__main__":
    from flows.terminal.run import run_flow_from_command_line
    from flows.terminal.show import show_dropped

    run_flow_from_command_line(drop_space, show_dropped)
