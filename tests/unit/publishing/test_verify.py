import pytest

from tasks.core.errors import GateFailed
from tasks.core.publishing.verify import _none_found, refuse_failed
from tasks.core.types import Check, Verdict

HELD = Check("counts are equal", passed=True, found="5 rows for 5 images")
BROKEN = Check("no image is missing", passed=False, found="2 listed images", examples=("a", "b'"))
OTHER = Check("recall", passed=False, found="recall 0.500")


def verdict(*checks: Check) -> Verdict:
    return Verdict(checks, "a", (), 5, None)


def test_a_verdict_whose_checks_held_passes() -> None:
    refuse_failed(verdict(HELD, HELD))
    refuse_failed(verdict())


def test_each_failed_check_is_named_with_rows_that_show_it() -> None:
    with pytest.raises(GateFailed) as caught:
        refuse_failed(verdict(HELD, BROKEN, OTHER))
    message = str(caught.value)
    assert "no image is missing: 2 listed images (such as 'a', \"b'\")" in message
    assert "recall: recall 0.500" in message
    assert "counts are equal" not in message
    assert "run again" in message


def test_rows_found_fail_a_check_and_are_its_examples() -> None:
    rows = [{"image_id": name, "total": 1234} for name in ("a", "b")]
    check = _none_found("no image is extra", rows, "extra rows")
    assert check == Check(
        "no image is extra", passed=False, found="1,234 extra rows", examples=("a", "b")
    )
    assert _none_found("no image is extra", [], "extra rows").passed
