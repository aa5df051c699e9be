"""Tasks that ask an index, and show what it answers."""

from pathlib import Path

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from tasks.core import similarreport
from tasks.core.questions import Question
from tasks.core.settings import get_settings
from tasks.core.similar import Answer
from tasks.retrying import DURABLE


@task(task_run_name="ask {index}", **DURABLE)
async def ask_index(index: str, question: Question) -> tuple[Answer, Path]:
    """Find the images nearest to a question, and show them; return where the picture is too."""
    answer, picture = await similarreport.answer_with_picture(get_settings(), index, question)
    for warning in answer.warnings:
        get_run_logger().warning(warning)
    await acreate_markdown_artifact(
        key="similar-images",
        markdown=similarreport.answer_markdown(answer, picture.read_bytes()),
        description=f"The images nearest to {question.label}.",
    )
    return answer, picture
