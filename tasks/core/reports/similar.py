"""Show an answer: as a picture, as a page with links, and as JSON for programs."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

from tasks.core.concurrency import for_each
from tasks.core.errors import StorageError
from tasks.core.files import keep_newest_sheets, replacing
from tasks.core.pictures.sheet import (
    MOST_NEIGHBOURS,
    Tile,
    as_data_uri,
    compose_sheet,
    how_many_drawn,
    read_tile,
)
from tasks.core.reports.markdown import code, label
from tasks.core.searching.find_similar import Answer, SimilarImage, find_similar
from tasks.core.searching.question import Question, parse_uri
from tasks.core.searching.searcher import Searcher, open_searcher
from tasks.core.settings import Settings

DOWNLOADS_AT_ONCE = 5

SHEETS_KEPT = 200
"""Of questions; at most 30 MB."""

MEASURES = {
    "l2": "L2 distance",
    "cosine": "cosine distance",
    "inner_product": "inner product",
}


async def answer_with_picture(
    settings: Settings, index: str, question: Question
) -> tuple[Answer, Path]:
    """Return the answer to a question, and where its contact sheet was written.

    Raises:
        BirdwalkError: as find_similar.
        ArtifactError: the sheet cannot be written.
    """
    async with open_searcher(settings) as searcher:
        answer = await find_similar(searcher, index, question)
        png = await draw_answer(searcher, answer)
    path = sheet_path(settings, index, question)
    await asyncio.to_thread(_write_sheet, path, png)
    return answer, path


def _write_sheet(path: Path, png: bytes) -> None:
    with replacing(path) as made:
        made.write_bytes(png)
    keep_newest_sheets(path.parent, SHEETS_KEPT)


def sheet_path(settings: Settings, index: str, question: Question) -> Path:
    """Return where the sheet of a question goes: asking it again overwrites it.

    The sheets of the last questions stay, of whatever index.
    """
    asked = repr((index, question, question.data)).encode("utf-8", "surrogatepass")
    name = f"{hashlib.sha256(asked).hexdigest()[:16]}.png"
    return settings.data_directory / "similar-images" / name


async def draw_answer(searcher: Searcher, answer: Answer) -> bytes:
    """Return the contact sheet as PNG: the question, then up to 20 neighbours."""

    async def tile(neighbour: SimilarImage) -> Tile:
        data = await read_object(searcher, neighbour.bucket, neighbour.image_id)
        return Tile(neighbour.image_id, _caption(answer, neighbour), data)

    query = await _query_tile(searcher, answer)
    shown = answer.neighbours[:MOST_NEIGHBOURS]
    tiles = await for_each(shown, tile, DOWNLOADS_AT_ONCE)
    return await asyncio.to_thread(compose_sheet, [query, *tiles])


async def read_object(searcher: Searcher, bucket: str, name: str) -> bytes | None:
    """Return an object as a picture for a tile; None where it cannot be drawn."""
    try:
        client = await searcher.storage()
    except StorageError:
        # There are no credentials: then none is drawn.
        return None
    return await read_tile(client, bucket, name)


def _caption(answer: Answer, neighbour: SimilarImage) -> str:
    measure = "product" if answer.question.metric == "inner_product" else "distance"
    return f"{neighbour.rank}.  {measure} {neighbour.distance:.3f}"


async def _query_tile(searcher: Searcher, answer: Answer) -> Tile:
    question = answer.question
    data = question.data
    if question.text is not None:
        return Tile("", "the query", None, sentence=question.label)
    if question.file is not None:
        data = await asyncio.to_thread(_read_again, question.file)
    elif answer.uri is not None:
        data = await read_object(searcher, *parse_uri(answer.uri))
    return Tile(question.label, "the query", data)


def _read_again(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        # It was there when the model was asked: the answer is paid for, and is shown.
        return None


def answer_markdown(answer: Answer, png: bytes) -> str:
    """Return the sheet and a table of ranks, linked names and distances as markdown."""
    rows = "\n".join(
        f"| {neighbour.rank} | [{label(neighbour.image_id)}]({neighbour.link}) |"
        f" {neighbour.distance:.4f} |"
        for neighbour in answer.neighbours
    )
    space = answer.space
    warnings = "".join(f"> {warning}\n\n" for warning in answer.warnings)
    return (
        f"# Nearest to {code(answer.question.label)}\n\n{warnings}"
        f"![The question and the nearest images]({as_data_uri(png)})\n\n"
        f"{how_many_drawn(len(answer.neighbours))}\n\n"
        f"| rank | image | {MEASURES[answer.question.metric]} |\n| --- | --- | --- |\n{rows}\n\n"
        f"Asked of {code(space.index)}, space {space.space_id}: {code(space.label)};"
        f" {_calls(answer)}.\n"
    )


def _calls(answer: Answer) -> str:
    if answer.calls == 0:
        return "its vector was known, so the model was not called"
    return "the model was called once"


def _as_text(path: Path) -> str:
    """Return a path as what JSON can hold: a name on disk need not be text."""
    return os.fsencode(path).decode(errors="replace")


def answer_json(answer: Answer, picture: Path | None, run_url: str | None) -> dict[str, Any]:
    """Return the answer as what json.dumps takes."""
    question, space = answer.question, answer.space
    return {
        "question": {
            "image_id": question.image_id,
            "uri": question.uri,
            "file": None if question.file is None else _as_text(question.file),
            "text": question.text,
            "count": question.count,
            "metric": question.metric,
            "prefix": question.prefix,
            "uploaded_after": question.since.isoformat() if question.since else None,
        },
        "space": {
            "index": space.index,
            "space_id": space.space_id,
            "model": space.model,
            "dimension": space.dimension,
            "preprocessing": space.preprocessing,
        },
        "neighbours": [
            {
                "rank": neighbour.rank,
                "image_id": neighbour.image_id,
                "bucket": neighbour.bucket,
                "uri": neighbour.uri,
                "distance": neighbour.distance,
                "link": neighbour.link,
            }
            for neighbour in answer.neighbours
        ],
        "calls": answer.calls,
        "warnings": list(answer.warnings),
        "picture": None if picture is None else _as_text(picture),
        "run": run_url,
    }
