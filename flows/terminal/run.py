"""Run a flow from a terminal: its parameters are the options, its docstring is the help."""

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from cyclopts import App
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from rich.console import Console

from tasks.core.errors import BirdwalkError
from tasks.core.text import printable

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def run_flow_from_command_line(
    flow: Flow[..., Coroutine[Any, Any, Any]],
    show: Callable[[Any], None],
) -> NoReturn:
    """Read the flow's parameters from the command line, run it, and show its outcome.

    Exits with 0 when the flow completed, 1 when it failed, 130 on Ctrl-C.
    """

    # The signature that cyclopts reads is the flow's own.
    @functools.wraps(flow.fn)
    def command(*arguments: Any, **options: Any) -> None:
        show(asyncio.run(flow(*arguments, **options)))

    run_command(command, "Interrupted. What was embedded is kept; run again to go on.")


def run_command(command: Callable[..., None], interrupted: str) -> NoReturn:
    """Call a function of flows/ with the options of the command line that its signature names.

    Exits with 0 when it returned, 1 when it failed, and 130 on Ctrl-C, having said `interrupted`.
    """
    # Otherwise cyclopts ends the program on Ctrl-C without a word.
    app = App(name=f"python -m flows.{command.__name__}", suppress_keyboard_interrupt=False)
    app.default(command)
    errors = Console(stderr=True)
    try:
        app()
    except KeyboardInterrupt:
        errors.print(interrupted)
        sys.exit(EXIT_INTERRUPTED)
    except (BirdwalkError, ParameterTypeError) as error:
        # Its line ends are ours; a name's are not told from them, and harm nothing.
        lines = f"{type(error).__name__}: {error}".split("\n")
        message = "\n".join(map(printable, lines))
        errors.print(message, style="bold red", markup=False, soft_wrap=True)
        sys.exit(EXIT_FAILED)
    sys.exit(0)
