"""Show an answer: as a picture, as a page with links, and as JSON for programs."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

from tasks.core.files import keep_newest_sheets, replacing
from tasks.core.google.storage import object_link
from tasks.core.pictures.sheet import Tile, read_tile
from tasks.core.reports.contact_sheet import draw_neighbours, neighbours_markdown
from tasks.core.reports.markdown import code, label
from tasks.core.searching.find_similar import Answer
from tasks.core.searching.question import Question, parse_uri
from tasks.core.settings import Settings
from tasks.core.types import Neighbour

SHEETS_KEPT = 200
"""Of questions; at most 30 MB."""

MEASURES = {
    "l2": "L2 distance",
    "cosine": "cosine distance",
    "inner_product": "inner product",
}


async def draw_answer(settings: Settings, client: Any | None, answer: Answer) -> Path:
    """Write the contact sheet of an answer; return where it is.

    Asking the same question again overwrites it. The sheets of the last questions stay, of all
    indexes.

    Raises:
        ArtifactError: it cannot be written.
    """
    measure = "product" if answer.question.metric == "inner_product" else "distance"
    query = await _query_tile(client, answer)
    png = await draw_neighbours(client, query, answer.neighbours, measure)
    path = sheet_path(settings, answer.space.index, answer.question)
    await asyncio.to_thread(_write_sheet, path, png)
    return path


def _write_sheet(path: Path, png: bytes) -> None:
    with replacing(path) as made:
        made.write_bytes(png)
    keep_newest_sheets(path.parent, SHEETS_KEPT)


def sheet_path(settings: Settings, index: str, question: Question) -> Path:
    """Return where the sheet of a question to an index is written."""
    asked = repr((index, question, question.data)).encode("utf-8", "surrogatepass")
    name = f"{hashlib.sha256(asked).hexdigest()[:16]}.png"
    return settings.data_directory / "similar-images" / name


async def _query_tile(client: Any | None, answer: Answer) -> Tile:
    question = answer.question
    data = question.data
    if question.text is not None:
        return Tile("", "the query", None, sentence=question.label)
    if question.file is not None:
        data = await asyncio.to_thread(_read_again, question.file)
    elif answer.uri is not None:
        data = await read_tile(client, *parse_uri(answer.uri))
    return Tile(question.label, "the query", data)


def _read_again(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        # It was there when the model was asked: the answer is paid for, and is shown.
        return None


def answer_markdown(settings: Settings, answer: Answer, png: bytes) -> str:
    """Return the sheet and a table of ranks, linked names and distances as markdown."""

    def link(neighbour: Neighbour) -> str:
        address = object_link(settings, neighbour.bucket, neighbour.image_id)
        return f"[{label(neighbour.image_id)}]({address})"

    question, space = answer.question, answer.space
    measure = MEASURES[question.metric]
    warnings = "".join(f"> {warning}\n\n" for warning in answer.warnings)
    page = neighbours_markdown(question.label, png, answer.neighbours, measure, link, warnings)
    return (
        f"{page}\nAsked of {code(space.index)}, space {space.space_id}:"
        f" {code(space.label)}; {_calls(answer)}.\n"
    )


def _calls(answer: Answer) -> str:
    if answer.calls == 0:
        return "its vector was known, so the model was not called"
    return "the model was called once"


def _as_text(path: Path) -> str:
    """Return a path as text for JSON; bytes of it that are no text are replaced."""
    return os.fsencode(path).decode(errors="replace")


def answer_json(
    settings: Settings, answer: Answer, picture: Path | None, run_url: str | None
) -> dict[str, Any]:
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
                "rank": rank,
                "image_id": neighbour.image_id,
                "bucket": neighbour.bucket,
                "uri": neighbour.uri,
                "distance": neighbour.distance,
                "link": object_link(settings, neighbour.bucket, neighbour.image_id),
            }
            for rank, neighbour in enumerate(answer.neighbours, start=1)
        ],
        "calls": answer.calls,
        "warnings": list(answer.warnings),
        "picture": None if picture is None else _as_text(picture),
        "run": run_url,
    }
