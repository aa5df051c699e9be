"""The gate's checks, as a page."""

from tasks.core.reports.markdown import codes, yes
from tasks.core.types import Verdict


def gate_markdown(verdict: Verdict) -> str:
    """Return the checks as a markdown table, those that did not hold first."""
    ordered = sorted(verdict.checks, key=lambda check: check.passed)
    rows = "\n".join(f"| {check.name} | {yes(check.passed)} | {check.found} |" for check in ordered)
    # Below the table: Prefect's older interface breaks no line in one.
    examples = "".join(
        f"- {check.name}, but for: {codes(check.examples)}\n" for check in ordered if check.examples
    )
    return f"# The gate\n\n| check | held | found |\n| --- | --- | --- |\n{rows}\n\n{examples}"
