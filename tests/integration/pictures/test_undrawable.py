"""A picture that cannot be drawn is a blank tile: it stops neither the gate nor an answer."""

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks import publishing
from tasks.core.pictures import thumbnails
from tasks.core.publishing.publish import publish
from tasks.core.reports.similar import draw_answer
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import as_current
from tasks.core.searching.find_similar import find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import open_searcher
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket
from tests.support.sync import carry_out, options, prepare, sync

QUERY = "turned.jpg"
LARGE, GONE, JUNK, BOMB = "large.png", "gone.png", "junk.png", "bomb.png"
RED = (254, 0, 0)


def jpeg_with_odd_exif() -> bytes:
    """Return a red picture to be turned, whose ResolutionUnit (0x0128) is text."""
    entries = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHL4s", 0x0128, 2, 4, b"in")
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 2) + entries + bytes(4)
    data = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(data, "JPEG", exif=exif)
    return data.getvalue()


def bomb() -> bytes:
    """Return a PNG of 50 kB with more pixels than are decoded."""
    data = io.BytesIO()
    Image.new("1", (10_100, 10_000)).save(data, "PNG")
    return data.getvalue()


def spoil(bucket: LocalBucket) -> None:
    bucket.put(LARGE, b"\x89PNG\r\n\x1a\n" + bytes(thumbnails.MOST_BYTES))
    bucket.put(JUNK, b"\x89PNG\r\n\x1a\n junk")
    bucket.put(BOMB, bomb())
    bucket.delete(GONE)


def red(png: bytes) -> int:
    """Return how many pixels of a sheet are of the query's picture."""
    colours = Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20) or []
    return sum(
        count
        for count, colour in colours
        if isinstance(colour, tuple) and colour[0] > 240 and max(colour[1:]) < 15
    )


async def test_the_gate_holds_and_the_index_is_published(
    settings: Settings, bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts: dict[str, str] = {}

    async def keep(*, key: str, markdown: str, **_: Any) -> None:
        artifacts[key] = markdown

    monkeypatch.setattr(publishing, "acreate_markdown_artifact", keep)
    monkeypatch.setattr(thumbnails, "MOST_BYTES", 200_000)
    bucket.put(QUERY, jpeg_with_odd_exif(), "image/jpeg")
    bucket.put_all([LARGE, GONE, JUNK, BOMB])
    async with open_run(options(bucket.name, query=QUERY), settings, "test") as run:
        await carry_out(run, await prepare(run))
        spoil(bucket)
        with as_current(run):
            verdict = await publishing.verify.fn()
        assert {one.image_id for one in verdict.neighbours} == {LARGE, GONE, JUNK, BOMB}
        await publish(run)
        assert red(run.contact_sheet.read_bytes()) > 3_000
    assert all(name in artifacts["nearest-neighbours"] for name in (QUERY, LARGE, GONE, JUNK, BOMB))


async def test_an_answer_is_given_and_its_sheet_written(
    settings: Settings, bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket.put(QUERY, jpeg_with_odd_exif(), "image/jpeg")
    bucket.put_all([LARGE, GONE, JUNK, BOMB])
    await sync(settings, bucket.name)
    monkeypatch.setattr(thumbnails, "MOST_BYTES", 200_000)
    spoil(bucket)
    (tmp_path / QUERY).write_bytes(jpeg_with_odd_exif())
    async with open_searcher(settings) as searcher:
        for question in (Question(image_id=QUERY), Question(file=tmp_path / QUERY)):
            answer = await find_similar(searcher, "image_embeddings", question)
            assert {LARGE, GONE, JUNK, BOMB} <= {found.image_id for found in answer.neighbours}
            path = await draw_answer(settings, await searcher.storage(), answer)
            assert red(path.read_bytes()) > 3_000
