import pytest

from tasks.core.planning.plan_sync import (
    LARGEST_BATCH,
    MOST_BATCHES,
    SMALLEST_BATCH,
    choose_batch_size,
)
from tasks.core.types import Change, SyncPlan

OTHER_TASKS = 11
"""Steps of a run that are not done batch by batch."""

IMAGES = [0, 1, 9, 10, 11, 59, 60, 600, 3000, 60_000, 1_000_000, 1_500_000, 10_000_000]
PACES = [1, 30, 120, 600, 60_000, 10_000_000]


def make_plan(new: int, changed: int, batch_size: int) -> SyncPlan:
    return SyncPlan(
        listed=new + changed,
        indexed=changed,
        unchanged=0,
        changes=(Change("new", new, new, ()), Change("changed", changed, changed, ())),
        recovered=0,
        taken_over=0,
        batch_size=batch_size,
        price=0.0,
        seconds_at_quota=0.0,
        guards=(),
    )


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("images", IMAGES)
def test_a_batch_size_stays_in_its_bounds(images: int, pace: float) -> None:
    assert SMALLEST_BATCH <= choose_batch_size(images, pace) <= LARGEST_BATCH


def test_a_batch_is_twenty_seconds_of_work() -> None:
    assert choose_batch_size(1000, 600) == 200
    assert choose_batch_size(1000, 120) == 40


@pytest.mark.parametrize("images", [3299, 10_000, 60_299, 699_999])
def test_a_run_has_no_more_task_runs_than_a_graph_can_show(images: int) -> None:
    for pace in (1, 120, 600):
        size = choose_batch_size(images, pace)
        batches = len(make_plan(images, 0, size).batches)
        assert batches <= MOST_BATCHES
        assert 2 * batches + OTHER_TASKS <= 300


@pytest.mark.parametrize("size", [1, 2, 3, 10, 11, 5000])
@pytest.mark.parametrize(("new", "changed"), [(0, 0), (1, 0), (0, 3), (7, 4), (10, 10), (99, 2)])
def test_batches_cover_every_image_once_and_in_order(new: int, changed: int, size: int) -> None:
    batches = make_plan(new, changed, size).batches
    covered = [image for batch in batches for image in range(batch.first, batch.last + 1)]
    assert covered == list(range(1, new + changed + 1))
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    for batch in batches:
        assert 1 <= batch.last - batch.first + 1 <= size
        assert batch.total == new + changed
        # As the statement insert_work numbers them.
        assert {(image - 1) // size + 1 for image in (batch.first, batch.last)} == {batch.number}
