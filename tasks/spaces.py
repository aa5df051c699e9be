"""Tasks that choose which space of an index readers see."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact

from tasks.core import rollback, spacesreport
from tasks.core.comparison import SpaceReport
from tasks.core.postgres import open_database
from tasks.core.settings import get_settings
from tasks.retrying import BRIEF


@task(task_run_name="list spaces of {index}", **BRIEF)
async def list_spaces(index: str) -> tuple[SpaceReport, ...]:
    """Show the spaces of an index, and how each compares with the last listing."""
    async with open_database(get_settings()) as database:
        reports = await rollback.list_spaces(database, index)
    await acreate_markdown_artifact(
        key="spaces",
        markdown=spacesreport.spaces_markdown(index, reports),
        description=spacesreport.spaces_sentence(index, reports),
    )
    return reports


@task(task_run_name="switch {index}", **BRIEF)
async def switch_space(index: str, space: int | None, max_incomplete: float) -> SpaceReport:
    """Point the index's view at another of its spaces."""
    async with open_database(get_settings()) as database:
        return await rollback.switch_space(database, index, space, max_incomplete)


@task(task_run_name="drop space {space} of {index}", **BRIEF)
async def drop_space(index: str, space: int) -> SpaceReport:
    """Delete a space that is not shown."""
    settings = get_settings()
    async with open_database(settings) as database:
        return await rollback.drop_space(database, settings, index, space)
