"""Tasks that ask an index, and show what it answers."""

import asyncio
from pathlib import Path

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from tasks.answering import answer_with_picture
from tasks.core.reports import duplicates, similar
from tasks.core.reports.duplicates import DuplicatesReport
from tasks.core.searching import find_duplicates
from tasks.core.searching.find_similar import Answer
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import open_searcher
from tasks.core.settings import get_settings
from tasks.names import ask_name
from tasks.retrying import BRIEF


@task(task_run_name=ask_name, **BRIEF)  # type: ignore[arg-type]  # see names.py
async def ask_index(index: str, question: Question) -> tuple[Answer, Path]:
    """Find the images nearest to a question, and show them; return where the picture is too."""
    answer, picture = await answer_with_picture(index, question)
    for warning in answer.warnings:
        get_run_logger().warning(warning)
    await acreate_markdown_artifact(
        key="similar-images",
        markdown=similar.answer_markdown(get_settings(), answer, picture.read_bytes()),
        description=f"The images nearest to {question.label}.",
    )
    return answer, picture


@task(task_run_name="find duplicates up to {distance:g} apart in {index}", **BRIEF)
async def search_duplicates(index: str, distance: float, prefix: str) -> DuplicatesReport:
    """Find the groups of images that are almost the same, and show the largest."""
    settings = get_settings()
    async with open_searcher(settings) as searcher:
        found = await find_duplicates.find_duplicates(searcher, index, distance, prefix)
        png = await duplicates.draw_duplicates(await searcher.storage_or_none(), found)
    report = await asyncio.to_thread(duplicates.write_duplicates, settings, found, png)
    await acreate_markdown_artifact(
        key="duplicates",
        markdown=duplicates.duplicates_markdown(settings, found, png, report.csv),
        description=report.sentence,
    )
    return report
