"""The contact sheet of a verdict: the query, its neighbours, and a table of them."""

import asyncio
from pathlib import Path

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
from tasks.core.types import Verdict


async def draw_contact_sheet(run: Run, verdict: Verdict) -> Path:
    """Write the sheet of a verdict's query and neighbours as PNG under the run's directory.

    Raises:
        ArtifactError: the file cannot be written.
    """
    client = run.clients.storage
    query = await read_tile(client, run.options.bucket, verdict.query)
    tiles = [Tile(verdict.query, "the query", query)]
    for rank, neighbour in enumerate(verdict.neighbours[:MOST_NEIGHBOURS], start=1):
        data = await read_tile(client, neighbour.bucket, neighbour.image_id)
        tiles.append(Tile(neighbour.image_id, f"{rank}.  distance {neighbour.distance:.3f}", data))
    png = await asyncio.to_thread(compose_sheet, tiles)
    with replacing(run.contact_sheet) as made:
        made.write_bytes(png)
    return run.contact_sheet


def contact_sheet_markdown(verdict: Verdict, png: bytes) -> str:
    """Return the sheet and a table of ranks, names and distances as markdown."""
    rows = "\n".join(
        f"| {rank} | {code(neighbour.image_id)} | {neighbour.distance:.4f} |"
        for rank, neighbour in enumerate(verdict.neighbours, start=1)
    )
    return (
        f"# Nearest to {code(verdict.query)}\n\n"
        f"![The query and its nearest images]({as_data_uri(png)})\n\n"
        f"{how_many_drawn(len(verdict.neighbours))}\n\n"
        f"| rank | image | L2 distance |\n| --- | --- | --- |\n{rows}\n"
    )
