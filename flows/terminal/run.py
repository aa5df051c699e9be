"""Run a flow from a terminal: its parameters are the options, its docstring is the help."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from prefect import Flow
from prefect.exceptions import ParameterTypeError

from flows.terminal.exits import make_app, run_app
from tasks.core.errors import BirdwalkError

KEPT = "What was embedded is kept; run again to go on."


def run_flow_from_command_line(
    flow: Flow[..., Coroutine[Any, Any, Any]],
    show: Callable[[Any], None],
) -> NoReturn:
    """Read the flow's parameters from the command line, run it, and show its outcome.

    Exits with 0 when the flow completed, 1 when it failed, 2 on wrong usage, 130 on Ctrl-C.
    """

    # The signature that cyclopts reads is the flow's own.
    @functools.wraps(flow.fn)
    def command(**parameters: Any) -> None:
        try:
            show(asyncio.run(flow(**parameters)))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(KEPT) from None

    app = make_app(f"python -m flows.{flow.fn.__name__}")
    app.default(command)
    run_app(app, (BirdwalkError, ParameterTypeError))
