"""What the core says at DEBUG goes where a run's log goes."""

import logging

import pytest
from prefect.context import FlowRunContext

from tasks.logs import show_details

SAID = "gs://b/a.png is asked again"


@pytest.mark.parametrize(
    ("level", "under_way", "said"),
    [(logging.INFO, True, []), (logging.DEBUG, True, [SAID]), (logging.DEBUG, False, [])],
)
def test_details_of_the_core_are_in_a_runs_log_at_debug_only(
    level: int,
    under_way: bool,  # noqa: FBT001 - a column of the table above
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core, runs = logging.getLogger("tasks.core"), logging.getLogger("prefect.task_runs")
    kept: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]  # a stand-in
    monkeypatch.setattr(runs, "handlers", [handler])
    monkeypatch.setattr(core, "handlers", [])
    monkeypatch.setattr(FlowRunContext, "get", lambda: under_way or None)
    monkeypatch.setattr(core, "level", core.level)
    monkeypatch.setattr(runs, "level", level)
    logging.getLogger("tasks.core").manager._clear_cache()  # type: ignore[attr-defined]  # levels are cached
    show_details()
    show_details()
    logging.getLogger("tasks.core.embedding").debug("%s is asked again", "gs://b/a.png")
    assert kept == said
    logging.getLogger("tasks.core").manager._clear_cache()  # type: ignore[attr-defined]  # as above
