"""What the core says at DEBUG goes where a run's log goes."""

import logging

import pytest

from tasks.logs import show_details


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_details_of_the_core_are_in_the_runs_log_at_debug_only(
    level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, runs = logging.getLogger("tasks.core"), logging.getLogger("prefect.task_runs")
    kept: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]  # a stand-in
    monkeypatch.setattr(runs, "handlers", [handler])
    monkeypatch.setattr(core, "handlers", [])
    monkeypatch.setattr(core, "level", core.level)
    monkeypatch.setattr(runs, "level", level)
    logging.getLogger("tasks.core").manager._clear_cache()  # type: ignore[attr-defined]  # levels are cached
    show_details()
    show_details()
    logging.getLogger("tasks.core.embedding").debug("%s is asked again", "gs://b/a.png")
    assert kept == (["gs://b/a.png is asked again"] if level == logging.DEBUG else [])
    logging.getLogger("tasks.core").manager._clear_cache()  # type: ignore[attr-defined]  # as above
