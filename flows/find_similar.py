"""Ask an index with a picture or a sentence: `python -m flows.find_similar --help`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.utilities.urls import url_for
from pydantic import Field

from flows.terminal.outcomes import SimilarOutcome
from tasks.core.searching.question import Metric, Question
from tasks.core.text import printable
from tasks.searching import ask_index

Name = Annotated[str, Field(min_length=1, max_length=1024)]


def _run_name() -> str:
    asked = runtime.flow_run.parameters
    ways = (asked.get(way) for way in ("image_id", "uri", "file", "text"))
    return printable(f"similar to {next(filter(None, ways), 'nothing')}")[:200]


@flow(
    name="find-similar",
    flow_run_name=_run_name,
    description="Finds the images of an index that are nearest to a picture or a sentence.",
)
async def find_similar(  # noqa: PLR0913 - each parameter is a field of the form in Prefect's UI
    *,
    image_id: Name | None = None,
    uri: Annotated[str, Field(pattern=r"^gs://[^/]+/", max_length=1280)] | None = None,
    file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None,
    text: Name | None = None,
    index: Annotated[str, Field(min_length=1, max_length=63)] = "image_embeddings",
    count: Annotated[int, Field(ge=1, le=100)] = 10,
    metric: Metric = "l2",
    prefix: Annotated[str, Field(max_length=1024)] = "",
    uploaded_after: datetime | None = None,
) -> State[SimilarOutcome]:
    """Find the images nearest to a picture or a sentence; give exactly one of the first four.

    Args:
        image_id: An image of the index, by its object name; costs no call.
        uri: An object as gs://bucket/name; costs a call where the index does not have it.
        file: A picture on the disk of the machine that runs this; costs a call.
        text: An English sentence of up to about 32 words; costs a call.
        index: Name of the view that readers query.
        count: How many images to find.
        metric: How nearness is told; the order is the same for all.
        prefix: Only images whose name begins with this.
        uploaded_after: Only images whose object was written at this time or later; UTC by default.
    """
    question = Question(
        image_id=image_id,
        uri=uri,
        file=None if file is None else Path(file),
        text=text,
        count=count,
        metric=metric,
        prefix=prefix,
        uploaded_after=uploaded_after,
    )
    answer, picture = await ask_index(index, question)
    outcome = SimilarOutcome(answer, picture, url_for("flow-run", runtime.flow_run.id))
    return Completed(message=outcome.sentence, data=outcome)


if __name__ == "__main__":
    from flows.terminal.run import run_flow_from_command_line
    from flows.terminal.show import show_similar

    run_flow_from_command_line(find_similar, show_similar)
