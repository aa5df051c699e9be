"""The contact sheet: a question and the nearest images, as a picture and as a page around it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.core.concurrency import for_each
from tasks.core.files import replacing
from tasks.core.pictures.sheet import (
    MOST_NEIGHBOURS,
    Tile,
    as_data_uri,
    compose_sheet,
    how_many_drawn,
    read_tile,
)
from tasks.core.reports.markdown import code
from tasks.core.runs.run import Run
from tasks.core.types import Neighbour, Verdict

DOWNLOADS_AT_ONCE = 5


async def draw_contact_sheet(run: Run, verdict: Verdict) -> Path:
    """Write the sheet of a verdict's query and neighbours as PNG under the run's directory.

    Raises:
        ArtifactError: the file cannot be written.
    """
    client = run.clients.storage
    query = await read_tile(client, run.options.bucket, verdict.query)
    png = await draw_neighbours(client, Tile(verdict.query, "the query", query), verdict.neighbours)
    with replacing(run.contact_sheet) as made:
        made.write_bytes(png)
    return run.contact_sheet


async def draw_neighbours(
    client: Any | None, query: Tile, neighbours: Sequence[Neighbour], measure: str = "distance"
) -> bytes:
    """Return the sheet as PNG: the question, then up to 20 neighbours.

    Args:
        client: google.cloud.storage.Client; where there is none, all tiles are blank.
        query: the question's tile.
        neighbours: the nearest first.
        measure: what their distances are called.
    """

    async def draw(ranked: tuple[int, Neighbour]) -> Tile:
        rank, neighbour = ranked
        data = await read_tile(client, neighbour.bucket, neighbour.image_id)
        return Tile(neighbour.image_id, f"{rank}.  {measure} {neighbour.distance:.3f}", data)

    shown = enumerate(neighbours[:MOST_NEIGHBOURS], start=1)
    tiles = await for_each(shown, draw, DOWNLOADS_AT_ONCE)
    return await asyncio.to_thread(compose_sheet, [query, *tiles])


def contact_sheet_markdown(verdict: Verdict, png: bytes) -> str:
    """Return the page of a verdict: its sheet, and a table of ranks, names and distances."""
    return neighbours_markdown(verdict.query, png, verdict.neighbours)


def neighbours_markdown(
    query: str,
    png: bytes,
    neighbours: Sequence[Neighbour],
    measure: str = "L2 distance",
    show: Callable[[Neighbour], str] = lambda neighbour: code(neighbour.image_id),
    note: str = "",
) -> str:
    """Return the page of a question: the sheet, and a table of ranks, images and distances.

    `show` writes an image's name into the table, as for a link; `note` stands above the sheet.
    """
    rows = "\n".join(
        f"| {rank} | {show(neighbour)} | {neighbour.distance:.4f} |"
        for rank, neighbour in enumerate(neighbours, start=1)
    )
    return (
        f"# Nearest to {code(query)}\n\n{note}"
        f"![The query and its nearest images]({as_data_uri(png)})\n\n"
        f"{how_many_drawn(len(neighbours))}\n\n"
        f"| rank | image | {measure} |\n| --- | --- | --- |\n{rows}\n"
    )
