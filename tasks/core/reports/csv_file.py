"""Where a run's CSV is, and its first rows."""

from typing import Any

from tasks.core.loading.write_csv import read_head
from tasks.core.text import count
from tasks.core.types import CsvReport

PREVIEW_NUMBERS = 3


def file_markdown(report: CsvReport) -> str:
    """Return where the CSV is and how pandas reads it, as markdown."""
    if report.path is None:
        return "Nothing was embedded, so there is no CSV.\n"
    return (
        f"[{report.path.name}]({report.path.as_uri()}): {count(report.rows, 'row')},"
        f" {report.columns:,} columns, no header, on the machine that ran the flow. A browser does"
        f" not open files from a page; copy the path.\n\n```python\nimport pandas as pd\n"
        f"pd.read_csv({str(report.path)!r}, header=None, keep_default_na=False)\n```\n"
    )


def preview(report: CsvReport) -> list[dict[str, Any]]:
    """Return the first rows as a list of dicts for a table: the name and its first numbers."""
    head = read_head(report).iloc[:, : 1 + PREVIEW_NUMBERS]
    head.columns = ["image_id", *(f"v{number}" for number in range(head.shape[1] - 1))]
    head["..."] = f"{report.columns - head.shape[1]} more"
    return [{str(key): value for key, value in row.items()} for row in head.to_dict("records")]
