"""Tasks that ask an index, and show what it answers."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from tasks.core import duplicatesreport, similarreport
from tasks.core.duplicates import find_duplicates
from tasks.core.questions import Question
from tasks.core.searcher import open_searcher
from tasks.core.settings import get_settings
from tasks.core.similar import Answer
from tasks.retrying import BRIEF


@dataclass(frozen=True, slots=True)
class DuplicatesReport:
    """How many groups of duplicates there are, of how many images, and the CSV that lists them."""

    groups: int
    images: int
    sentence: str
    csv: Path


@task(task_run_name="ask {index}", **BRIEF)
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


@task(task_run_name="find duplicates in {index}", **BRIEF)
async def search_duplicates(index: str, distance: float, prefix: str) -> DuplicatesReport:
    """Find the groups of images that are almost the same, and show the largest."""
    settings = get_settings()
    async with open_searcher(settings) as searcher:
        found = await find_duplicates(searcher, index, distance, prefix)
        png = await duplicatesreport.draw_duplicates(searcher, found)
    path = await asyncio.to_thread(duplicatesreport.write_duplicates, settings, found)
    sentence = duplicatesreport.duplicates_sentence(found)
    await acreate_markdown_artifact(
        key="duplicates",
        markdown=duplicatesreport.duplicates_markdown(settings, found, png, path),
        description=sentence,
    )
    return DuplicatesReport(len(found.groups), found.images, sentence, path)
