"""What our command lines share: how options are spelled, and how a command ends."""

import sys
from typing import Any, NoReturn

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError, ValidationError

from tasks.core.errors import BirdwalkError
from tasks.core.text import printable

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def make_app(name: str, **more: Any) -> App:
    """Return an empty command line, whose options have one spelling each."""
    return App(
        name=name,
        default_parameter=Parameter(negative=(), show_default=_show_default),
        error_formatter=_explain_usage,
        # Otherwise cyclopts ends the program on Ctrl-C without a word.
        suppress_keyboard_interrupt=False,
        **more,
    )


def _show_default(value: Any) -> str | None:
    return str(value) if value not in (None, False, "", (), {}) else None


def _explain_usage(error: CycloptsError) -> Any:
    """Say what is wrong with an option in a line: pydantic takes four and a link."""
    from cyclopts import CycloptsPanel
    from pydantic import ValidationError as PydanticError

    if isinstance(error, UnusedCliTokensError):
        words = " ".join(error.unused_tokens or ())
        return CycloptsPanel(f"Not expected: {words}. What a command takes are options: --help.")
    if isinstance(error, ValidationError) and isinstance(error.__cause__, PydanticError):
        error.exception_message = f"{error.__cause__.errors()[0]['msg']}."
    return CycloptsPanel(error)


def run_app(app: App, failures: tuple[type[Exception], ...]) -> NoReturn:
    """Run a command line and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    An expected failure is one message, without a traceback.

    Args:
        app: as made by make_app.
        failures: the errors that are expected; any other keeps its traceback.
    """
    try:
        status = app()
    except KeyboardInterrupt as interruption:
        print("Interrupted.", *interruption.args, file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except failures as error:
        kind = f"{type(error).__name__}: " if isinstance(error, BirdwalkError) else ""
        _say_in_red(f"{kind}{error}")
        sys.exit(EXIT_FAILED)
    sys.exit(status)


def _say_in_red(message: str) -> None:
    from rich.console import Console

    # The line ends are ours; a name's are not told from them, and harm nothing.
    lines = "\n".join(map(printable, message.split("\n")))
    Console(stderr=True).print(lines, style="bold red", markup=False, soft_wrap=True)
