"""The files of a run wait as long as they hold what was paid for, and a later run can use it."""

from itertools import product
from pathlib import Path

import pytest

from tasks.core.maintenance.prune_files import EarlierRun


@pytest.mark.parametrize(
    ("completed", "has_space", "has_work", "has_parts"), list(product([False, True], repeat=4))
)
def test_only_parts_that_a_run_may_still_load_wait(
    tmp_path: Path, *, completed: bool, has_space: bool, has_work: bool, has_parts: bool
) -> None:
    if has_parts:
        (tmp_path / "parts").mkdir()
    earlier = EarlierRun(tmp_path, completed, has_space, has_work)
    assert earlier.waits == (not completed and has_space and has_work and has_parts)
