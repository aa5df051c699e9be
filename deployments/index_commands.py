"""The commands of `birdwalk` that ask or change an index.

All but one run a flow, with the flow's own parameters and help, which are read from its source:
Prefect is imported when there is a run to record, not for a page of help or a misspelt option.
"""

import asyncio
import gc
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from cyclopts import Parameter

from flows.terminal.exits import EXIT_FAILED
from flows.terminal.signature import read_signature
from tasks.core.errors import IndexDrifted, UnknownIndex

Command = Callable[..., int]
Answer = Callable[[dict[str, Any]], Awaitable[Any]]

JSON = inspect.Parameter(
    "json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Parameter(help="Print one JSON object, for programs.")],
)
NOTHING: Mapping[str, Any] = MappingProxyType({})


def runs(
    flow: str,
    *,
    show: str,
    as_json: str | None = None,
    fixed: Mapping[str, Any] = NOTHING,
    alone: Answer | None = None,
    interrupted: str = "",
) -> Callable[[Callable[[], None]], Command]:
    """Make a command that runs a flow; its own docstring, if any, stands for the flow's.

    Args:
        flow: the flow's module in flows/, and its name there.
        show: the function of flows.terminal.show that prints its outcome.
        as_json: the function of flows.terminal.as_json that makes it JSON; None has no --json.
        fixed: parameters of the flow that are no options of the command, and their values.
        alone: answers without a flow run where no Prefect server is known; None starts one.
        interrupted: what is said after Ctrl-C.
    """
    source = read_signature(f"flows.{flow}", flow)
    signature = inspect.signature(source)
    options = [found for name, found in signature.parameters.items() if name not in fixed]
    signature = signature.replace(parameters=options)

    def decorate(stub: Callable[[], None]) -> Command:
        def command(*, json: bool = False, **given: Any) -> int:
            asked = signature.bind(**given)
            asked.apply_defaults()
            parameters = {**asked.arguments, **fixed}
            try:
                outcome = asyncio.run(_outcome(flow, parameters, alone))
            except KeyboardInterrupt:
                raise KeyboardInterrupt(interrupted) from None
            except IndexDrifted as error:
                if not json:
                    raise
                _print_json({"in_order": False, "found": str(error)})
                return EXIT_FAILED
            if json and as_json is not None:
                _print_json(_function("flows.terminal.as_json", as_json)(outcome))
            else:
                _function("flows.terminal.show", show)(outcome)
            return 0

        shown = options if as_json is None else [*options, JSON]
        # What cyclopts reads; a function takes any attribute.
        command.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
        command.__annotations__ = {found.name: found.annotation for found in shown}
        command.__doc__ = _docstring(source.__doc__ or "", stub.__doc__)
        command.__name__ = stub.__name__
        return command

    return decorate


def _docstring(flow: str, own: str | None) -> str:
    if own is None:
        return flow
    _, arguments, parameters = flow.partition("Args:")
    return f"{own}\n\n    {arguments}{parameters}"


async def _outcome(flow: str, parameters: dict[str, Any], alone: Answer | None) -> Any:
    if alone is not None and not knows_a_prefect_server():
        return await alone(parameters)
    with _without_collecting():
        recorded = _function(f"flows.{flow}", flow)
    from prefect.exceptions import ParameterTypeError

    from tasks.core.errors import InvalidInput, PrefectUnavailable

    try:
        return await recorded(**parameters)
    except ParameterTypeError as error:
        raise InvalidInput(str(error)) from error
    except RuntimeError as error:
        if not str(error).startswith("Failed to reach API"):
            raise
        raise PrefectUnavailable(
            f"{error}. Start Prefect's server, or set PREFECT_API_URL to one that runs."
        ) from error


def _function(module: str, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Import without garbage collection, which takes a sixth of the time and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        # What was imported lives until the end: no later collection looks at it again.
        gc.freeze()
        gc.enable()


def knows_a_prefect_server() -> bool:
    """Tell whether Prefect has been told of a server; import it only where its files may say so."""
    if "PREFECT_API_URL" in os.environ:
        return bool(os.environ["PREFECT_API_URL"])
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    project = Path("pyproject.toml")
    if not (
        any(path.exists() for path in (profiles, Path("prefect.toml"), Path(".env")))
        or (project.exists() and b"[tool.prefect" in project.read_bytes())
    ):
        return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def _print_json(value: Any) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


async def _answer_alone(parameters: dict[str, Any]) -> Any:
    """Answer a question without the half minute that a Prefect server takes to start."""
    from flows.terminal.outcomes import SimilarOutcome
    from tasks.answering import answer_with_picture
    from tasks.core.searching.question import Question

    index, file = parameters.pop("index"), parameters.pop("file")
    question = Question(file=None if file is None else Path(file), **parameters)
    return SimilarOutcome(*await answer_with_picture(index, question), None)


KEPT = "What was embedded is kept; run again to go on."


@runs(
    "embed_images",
    show="show_sync",
    as_json="sync_json",
    fixed={"plan_only": False},
    interrupted=KEPT,
)
def sync() -> None: ...


@runs("embed_images", show="show_sync", as_json="sync_json", fixed={"plan_only": True})
def plan() -> None:
    """Say what `birdwalk sync` would do and what it would cost; spend and change nothing."""


@runs("find_similar", show="show_similar", as_json="similar_json", alone=_answer_alone)
def similar() -> None: ...


@runs("find_duplicates", show="show_duplicates", as_json="duplicates_json")
def duplicates() -> None: ...


@runs("check_index", show="show_sentence", as_json="check_json")
def check() -> None: ...


@runs("rollback", show="show_switched")
def rollback() -> None: ...


@runs("drop_space", show="show_dropped")
def drop_space() -> None: ...


def spaces(*, index: str = "image_embeddings", json: bool = False) -> None:
    """List the embedding spaces of an index, and how each compares with the last listing.

    Args:
        index: Name of the view that readers query.
        json: Print one JSON object, for programs.
    """
    from flows.terminal.as_json import spaces_json
    from tasks.core.database.connections import open_database
    from tasks.core.maintenance.rollback import list_spaces
    from tasks.core.settings import get_settings

    async def read() -> Any:
        async with open_database(get_settings(), read_only=True) as database:
            return await list_spaces(database, index)

    found = asyncio.run(read())
    if not found:
        raise UnknownIndex(
            f"There is no index {index!r}. `birdwalk sync --index {index}` makes it."
        )
    if json:
        _print_json(spaces_json(found))
    else:
        _function("flows.terminal.show", "show_spaces")(index, found)
