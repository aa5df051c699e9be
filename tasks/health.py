"""The task that looks at an index from outside."""

from prefect import task
from prefect.artifacts import acreate_markdown_artifact

from tasks.core import health, healthreport
from tasks.core.health import HealthLimits
from tasks.core.postgres import open_database
from tasks.core.settings import get_settings
from tasks.retrying import BRIEF


@task(task_run_name="check {index}", **BRIEF)
async def check_health(index: str, limits: HealthLimits) -> str:
    """Show how an index is, in a sentence and on a page; fail where it has drifted."""
    async with open_database(get_settings()) as database:
        found = await health.check_index(database, index, limits)
    sentence = healthreport.health_sentence(found)
    await acreate_markdown_artifact(
        key="index-health", markdown=healthreport.health_markdown(found), description=sentence
    )
    health.refuse_drifted(found)
    return sentence
