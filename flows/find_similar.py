"""Ask an index with a picture or a sentence: `python -m flows.find_similar --help`."""

import asyncio
import functools
import inspect
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
from cyclopts import Parameter
from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed
from prefect.utilities.urls import url_for
from pydantic import Field

from flows.terminal.run import run_command
from flows.terminal.show import SimilarOutcome, show_similar
from tasks.core.reports.similar import answer_json
from tasks.core.searching.question import Metric, Question
from tasks.core.settings import get_settings
from tasks.core.text import printable
from tasks.searching import answer_with_picture, ask_index

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
    file: Annotated[
        Annotated[str, Field(min_length=1, max_length=4096)] | None,
        Parameter(name=("--image", "--file")),
    ] = None,
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
    question = _as_question(
        image_id=image_id,
        uri=uri,
        file=file,
        text=text,
        count=count,
        metric=metric,
        prefix=prefix,
        uploaded_after=uploaded_after,
    )
    answer, picture = await ask_index(index, question)
    outcome = SimilarOutcome(answer, picture, url_for("flow-run", runtime.flow_run.id))
    return Completed(message=outcome.sentence, data=outcome)


def _as_question(*, file: str | None, **others: Any) -> Question:
    return Question(file=None if file is None else Path(file), **others)


@functools.wraps(find_similar.fn)
def _command(*, json: bool = False, **parameters: Any) -> None:
    outcome = asyncio.run(_answer(parameters))
    if json:
        answer = answer_json(get_settings(), outcome.answer, outcome.picture, outcome.run_url)
        print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        show_similar(outcome)


JSON = inspect.Parameter(
    "json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Parameter(help="Print one JSON object, for programs.", negative="")],
)
SIGNATURE = inspect.signature(find_similar.fn)
# What cyclopts reads: the flow's parameters, and one of the command line's own.
_command.__signature__ = SIGNATURE.replace(  # type: ignore[attr-defined]  # a function takes any
    parameters=[*SIGNATURE.parameters.values(), JSON]
)


async def _answer(parameters: dict[str, Any]) -> SimilarOutcome:
    """Answer in a flow run where there is a Prefect server; else without one.

    To start one for a question, as Prefect would, takes longer than the question.
    """
    if PREFECT_API_URL.value():
        outcome: SimilarOutcome = await find_similar(**parameters)
        return outcome
    checked = find_similar.validate_parameters(parameters)
    index = checked.pop("index", "image_embeddings")
    question = _as_question(**{"file": None, **checked})
    return SimilarOutcome(*await answer_with_picture(index, question), None)


if __name__ == "__main__":
    run_command(_command, "Interrupted.")
