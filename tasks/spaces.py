"""Tasks that choose which space of an index readers see."""

from prefect import task
from prefect.artifacts import acreate_table_artifact

from tasks.core import rollback
from tasks.core.comparison import SpaceReport
from tasks.core.postgres import open_database
from tasks.core.settings import get_settings
from tasks.retrying import DURABLE


@task(task_run_name="list spaces of {index}", **DURABLE)
async def list_spaces(index: str) -> tuple[SpaceReport, ...]:
    """Show the spaces of an index, and how each compares with the last listing."""
    async with open_database(get_settings()) as database:
        reports = await rollback.list_spaces(database, index)
    await acreate_table_artifact(
        key="spaces",
        table=[
            {
                "space": report.space.space_id,
                "status": report.space.status,
                "what": report.space.label,
                "rows": report.rows,
                "last listing": _compared(report),
                "published": f"{report.published_at:%m-%d %H:%M}"
                if report.published_at
                else "never",
            }
            for report in reports
        ],
        description=f"The spaces of {index} against {_listing(reports)}; times are UTC.",
    )
    return reports


def _compared(report: SpaceReport) -> str:
    """Return how a space compares with the listing, in as few words as a cell has room for."""
    counts = {
        "missing": report.missing,
        "outdated": report.outdated,
        "gone": report.gone,
        "not compared": report.elsewhere,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "equal"


def _listing(reports: tuple[SpaceReport, ...]) -> str:
    listing = reports[0].listing if reports else None
    if listing is None:
        return "no listing: none is kept"
    return f"{listing}{'' if listing.whole else ', cut short'}"


@task(task_run_name="switch {index}", **DURABLE)
async def switch_space(index: str, space: int | None, max_incomplete: float) -> SpaceReport:
    """Point the index's view at another of its spaces."""
    async with open_database(get_settings()) as database:
        return await rollback.switch_space(database, index, space, max_incomplete)


@task(task_run_name="drop space {space} of {index}", **DURABLE)
async def drop_space(index: str, space: int) -> SpaceReport:
    """Delete a space that is not shown."""
    settings = get_settings()
    async with open_database(settings) as database:
        return await rollback.drop_space(database, settings, index, space)
