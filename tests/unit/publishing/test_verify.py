import pytest

from tasks.core.errors import GateFailed
from tasks.core.publishing.verify import check_verdict
from tasks.core.types import Check, Verdict

HELD = Check("counts are equal", passed=True, found="5 rows for 5 images")
BROKEN = Check("no image is missing", passed=False, found="2 listed images", examples=("a", "b'"))
OTHER = Check("recall", passed=False, found="recall 0.500")


def verdict(*checks: Check) -> Verdict:
    return Verdict(checks, "a", (), 5, None)


def test_a_verdict_whose_checks_held_passes() -> None:
    check_verdict(verdict(HELD, HELD))
    check_verdict(verdict())


def test_each_failed_check_is_named_with_rows_that_show_it() -> None:
    with pytest.raises(GateFailed) as caught:
        check_verdict(verdict(HELD, BROKEN, OTHER))
    message = str(caught.value)
    assert "no image is missing: 2 listed images (such as 'a', \"b'\")" in message
    assert "recall: recall 0.500" in message
    assert "counts are equal" not in message
    assert "run again" in message
