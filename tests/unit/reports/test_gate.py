"""The gate's page shows what did not hold first, and images that show it."""

from tasks.core.reports.gate import gate_markdown
from tasks.core.types import Check, Verdict


def test_checks_that_did_not_hold_come_first_with_their_examples() -> None:
    held = Check("vectors are finite", passed=True, found="all are")
    broken = Check("every image has one", passed=False, found="4 for 6", examples=("a|b`.png", "c"))
    page = gate_markdown(Verdict((held, broken), "a", (), 5, None))
    rows = page.splitlines()
    assert rows[4:6] == [
        "| every image has one | **NO** | 4 for 6 |",
        "| vectors are finite | yes | all are |",
    ]
    assert "- every image has one, but for: `a|b'.png`, `c`\n" in page
