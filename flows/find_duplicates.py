"""Find the images of an index that are almost the same."""

from typing import Annotated

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.utilities.urls import url_for
from pydantic import Field

from flows.terminal.outcomes import DuplicatesOutcome
from tasks.searching import search_duplicates


@flow(
    name="find-duplicates",
    flow_run_name="duplicates in {index}",
    description="Groups the images of an index that are almost the same.",
)
async def find_duplicates(
    *,
    index: Annotated[str, Field(min_length=1, max_length=63)] = "image_embeddings",
    distance: Annotated[float, Field(ge=0, le=2)] = 0.1,
    prefix: Annotated[str, Field(max_length=1024)] = "",
) -> State[DuplicatesOutcome]:
    """Search for every image of an index, and group those within a distance; no model is called.

    Args:
        index: Name of the view that readers query.
        distance: L2 distance up to which two images are duplicates; 0 is the very same vector.
        prefix: Only images whose name begins with this.
    """
    report = await search_duplicates(index, distance, prefix)
    outcome = DuplicatesOutcome(report, url_for("flow-run", runtime.flow_run.id))
    return Completed(message=report.sentence, data=outcome)


if __name__ == "__main__":
    from flows.terminal.run import run_flow_from_command_line
    from flows.terminal.show import show_duplicates

    run_flow_from_command_line(find_duplicates, show_duplicates)
