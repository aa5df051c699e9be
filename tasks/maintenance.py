"""Tasks that look at an index from outside, and choose which of its spaces readers see."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact

from tasks.core.database.connections import open_database
from tasks.core.maintenance import check_index, rollback
from tasks.core.maintenance import drop_space as dropping
from tasks.core.maintenance.check_index import HealthLimits
from tasks.core.maintenance.drop_space import DroppedSpace
from tasks.core.reports import health as health_page
from tasks.core.reports import spaces
from tasks.core.settings import get_settings
from tasks.core.spaces.drift import SpaceReport
from tasks.retrying import BRIEF


@task(task_run_name="check {index}", **BRIEF)
async def check_health(index: str, limits: HealthLimits) -> str:
    """Show how an index is, in a sentence and on a page; fail where it has drifted."""
    async with open_database(get_settings()) as database:
        found = await check_index.check_index(database, index, limits)
    sentence = health_page.health_sentence(found)
    await acreate_markdown_artifact(
        key="index-health", markdown=health_page.health_markdown(found), description=sentence
    )
    check_index.require_in_order(found)
    return sentence


@task(task_run_name="list spaces of {index}", **BRIEF)
async def list_spaces(index: str) -> tuple[SpaceReport, ...]:
    """Show the spaces of an index, and what readers would see in each."""
    async with open_database(get_settings()) as database:
        reports = await rollback.list_spaces(database, index)
    await acreate_markdown_artifact(
        key="spaces",
        markdown=spaces.spaces_markdown(index, reports),
        description=spaces.spaces_sentence(index, reports),
    )
    return reports


@task(task_run_name="switch {index}", **BRIEF)
async def switch_space(index: str, space: int | None, max_incomplete: float) -> SpaceReport:
    """Lead the index's view to another of its spaces."""
    async with open_database(get_settings()) as database:
        return await rollback.switch_space(database, index, space, max_incomplete)


@task(task_run_name="drop space {space} of {index}", **BRIEF)
async def drop_space(index: str, space: int) -> DroppedSpace:
    """Delete a space that is not shown."""
    settings = get_settings()
    async with open_database(settings) as database:
        return await dropping.drop_space(database, settings, index, space)
