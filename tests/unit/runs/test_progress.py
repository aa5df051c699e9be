import pytest

from tasks.core.runs.progress import Progress
from tasks.core.types import Counts


@pytest.mark.parametrize(("done", "total", "percent"), [(0, 0, 100), (0, 4, 0), (1, 4, 25)])
def test_progress_is_the_part_that_is_done(done: int, total: int, percent: float) -> None:
    assert Progress(total=total, by_batch={1: done}).percent == percent


def test_what_other_processes_have_made_durable_is_done_too() -> None:
    progress = Progress(total=40, by_batch={1: 10, 4: 5}, others=Counts(images=20))
    assert (progress.done, progress.percent) == (35, 87.5)


def test_a_content_that_was_asked_by_two_objects_is_done_once() -> None:
    progress = Progress(total=1)
    progress.count(1)
    progress.count(1)
    assert (progress.done, progress.percent) == (1, 100)


@pytest.mark.parametrize(("under_way", "has_more"), [(4, True), (5, False)])
def test_there_is_more_as_long_as_nobody_has_begun_with_something(
    under_way: int, *, has_more: bool
) -> None:
    progress = Progress(total=40, by_batch={1: 15}, others=Counts(images=20), under_way=under_way)
    assert progress.has_more is has_more


def test_before_there_is_a_plan_there_may_be_more() -> None:
    assert Progress().has_more
