"""Tasks that choose which space of an index readers see."""

from prefect import task
from prefect.artifacts import acreate_table_artifact

from tasks.core import rollback
from tasks.core.postgres import open_database
from tasks.core.rollback import SpaceReport
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
                "model": report.space.model,
                "dimension": report.space.dimension,
                "preprocessing": report.space.preprocessing,
                "rows": report.rows,
                "missing": report.missing,
                "outdated": report.outdated,
                "gone": report.gone,
                "published": f"{report.published_at:%Y-%m-%d %H:%M} UTC"
                if report.published_at
                else "never",
            }
            for report in reports
        ],
        description=f"The spaces of {index} against its last listing.",
    )
    return reports


@task(task_run_name="switch {index}", **DURABLE)
async def switch_space(index: str, space: int | None, max_incomplete: float) -> SpaceReport:
    """Point the index's view at another of its spaces."""
    async with open_database(get_settings()) as database:
        return await rollback.switch_space(database, index, space, max_incomplete)


@task(task_run_name="drop space {space} of {index}", **DURABLE)
async def drop_space(index: str, space: int) -> SpaceReport:
    """Delete a space that is not shown."""
    async with open_database(get_settings()) as database:
        return await rollback.drop_space(database, index, space)
