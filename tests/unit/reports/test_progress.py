"""The line that says how a run goes."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tasks.core.models import MULTIMODAL_EMBEDDING
from tasks.core.reports import progress
from tasks.core.reports.progress import progress_sentence
from tasks.core.runs.progress import Pace, Progress

if TYPE_CHECKING:
    from tasks.core.runs.run import Run


class Watched:
    """A run of 10,000 images at 600 a minute, and the clock that it is watched by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.progress = Progress(total=10_000)
        self.spans: dict[str, tuple[float, float]] = {"plan_sync": (0.0, 1.0)}
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))

    def say(self, seconds: float, answers: int) -> str:
        """Let time pass, and answers come; return the line."""
        self.now += seconds
        self.progress.answers += answers
        self.progress.by_batch[1] = self.progress.answers
        asked = SimpleNamespace(requests_per_minute=600)
        run = SimpleNamespace(
            plan="a plan",
            progress=self.progress,
            spans=self.spans,
            options=asked,
            model=MULTIMODAL_EMBEDDING,
        )
        return progress_sentence(cast("Run", cast("Any", run)))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_the_line_tells_pace_share_of_the_quota_429s_price_and_time_left(watched: Watched) -> None:
    watched.say(0, 0)
    watched.progress.deferrals = 3
    assert watched.say(100, 500) == (
        "500 of 10,000 images, 9,500 left; 5.0 images/s, 50% of the quota; 3 429s;"
        " $0.05 so far; about 32 min left"
    )


def test_what_came_before_the_first_answer_is_no_part_of_the_pace(watched: Watched) -> None:
    for _ in range(90):
        watched.say(2, 0)
    assert "; 10.0 images/s, 100% of the quota;" in watched.say(2, 20)


def test_a_quota_that_is_halved_shows_within_a_minute(watched: Watched) -> None:
    for _ in range(200):
        watched.say(2, 20)
    for _ in range(30):
        said = watched.say(2, 10)
    assert "; 5.0 images/s, 50% of the quota;" in said


def test_nothing_is_foretold_before_there_was_an_answer(watched: Watched) -> None:
    assert watched.say(5, 0).endswith("time left not known yet")


def test_once_all_is_done_the_pace_is_that_of_the_whole(watched: Watched) -> None:
    watched.spans["embed_batches"] = (1000.0, 2000.0)
    watched.say(0, 0)
    watched.say(1000, 10_000)
    said = watched.say(500, 0)
    assert "0 left; 10.0 images/s" in said
    assert said.endswith("; done")


def test_a_window_keeps_no_more_than_its_minute() -> None:
    pace = Pace()
    for second in range(1000):
        pace.note(float(second), second + 1)
    assert len(pace.samples) <= 62
