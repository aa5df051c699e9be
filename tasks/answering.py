"""Answer a question and draw the answer: what ask_index does, also for callers without Prefect."""

from pathlib import Path

from tasks.core.reports.similar import draw_answer
from tasks.core.searching.find_similar import Answer, find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import open_searcher
from tasks.core.settings import get_settings


async def answer_with_picture(index: str, question: Question) -> tuple[Answer, Path]:
    """Return the answer to a question, and where its contact sheet was written.

    Raises:
        BirdwalkError: as core's find_similar.
        ArtifactError: the sheet cannot be written.
    """
    settings = get_settings()
    async with open_searcher(settings) as searcher:
        answer = await find_similar(searcher, index, question)
        picture = await draw_answer(settings, await searcher.storage_or_none(), answer)
    return answer, picture
