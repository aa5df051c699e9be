"""Keep logs readable: an error of ours says what failed and what to do, without a traceback.

Prefect logs the traceback of whatever a task or flow raises: sixty lines, ours and its own, above
the one sentence that matters. Errors we did not expect keep theirs.
"""

import logging

from prefect.context import FlowRunContext, TaskRunContext

from tasks.core.errors import BirdwalkError


class _WithoutOurTracebacks(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], BirdwalkError):
            record.exc_info = None
        return True


def shorten_our_errors() -> None:
    """Let Prefect's run logs show errors of ours in one line; may be called again."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(found, _WithoutOurTracebacks) for found in logger.filters):
            logger.addFilter(_WithoutOurTracebacks())


class _ToTheRun(logging.Handler):
    """Passes on to the handlers of runs, while a run is under way: Prefect's know of no other."""

    def emit(self, record: logging.LogRecord) -> None:
        if TaskRunContext.get() or FlowRunContext.get():
            for handler in logging.getLogger("prefect.task_runs").handlers:
                handler.handle(record)


def show_details() -> None:
    """Send what the core says at DEBUG to the run's log too, where PREFECT_LOGGING_LEVEL is DEBUG.

    It says why each image was asked again, refused or left; may be called again.
    """
    core, runs = logging.getLogger("tasks.core"), logging.getLogger("prefect.task_runs")
    core.setLevel(runs.getEffectiveLevel())
    if not any(isinstance(handler, _ToTheRun) for handler in core.handlers):
        core.addHandler(_ToTheRun())
