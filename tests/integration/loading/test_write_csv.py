"""The CSV holds what the run embedded: the table's very numbers, under the objects' very names."""

import csv

import numpy as np
import pandas as pd

from tasks.core.embedding.embed_batch import embed_batch
from tasks.core.loading import write_csv
from tasks.core.reports import csv_file
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.types import CsvReport
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import fetch
from tests.support.model_server import ModelServer
from tests.support.sync import load, options, prepare, sync

ODD_NAMES = (
    "comma, and space.png",
    'double "quotes".png',
    "single 'quote'.png",
    "line\nbreak.png",
    "carriage\r\nreturn.png",
    "tab\there.png",
    "=HYPERLINK(1).png",
    "+1.png",
    "-1.png",
    "@sum.png",
    "../up.png",
    "Köln ✈ 🦜.png",
    "NA.png",
    "back\\slash.png",
    "100% $HOME `id`.png",
    "n" * 1020 + ".png",
)


def read(report: CsvReport) -> pd.DataFrame:
    """Read a CSV as the README says."""
    assert report.path is not None
    return pd.read_csv(report.path, header=None, keep_default_na=False)


async def test_the_csv_holds_the_tables_very_numbers(
    settings: Settings, bucket: LocalBucket, url: str
) -> None:
    names = bucket.put_pictures(25)
    done = await sync(settings, bucket.name, batch_size=10, dimension=256)
    assert (done.csv.rows, done.csv.columns) == (25, 257)
    frame = read(done.csv)
    assert frame.shape == (25, 257)
    assert list(frame[0]) == names
    stored = await fetch(
        url, "SELECT embedding::real[] FROM public.image_embeddings ORDER BY image_id"
    )
    table = np.array([vector for (vector,) in stored], dtype=np.float32)
    assert np.array_equal(frame.iloc[:, 1:].to_numpy(dtype=np.float32), table)


async def test_odd_names_survive_listing_table_csv_and_view(
    memory_settings: Settings, memory_bucket: LocalBucket, url: str
) -> None:
    names = memory_bucket.put_all(ODD_NAMES)
    done = await sync(memory_settings, memory_bucket.name, query="line\nbreak.png")
    assert done.listing.images == done.total("embedded") == len(ODD_NAMES)
    assert done.verdict.query == "line\nbreak.png"
    shown = await fetch(url, "SELECT image_id, content FROM image_embeddings")
    assert {name for name, _ in shown} == set(names)
    assert {content for _, content in shown} == {f"gs://{memory_bucket.name}/{n}" for n in names}
    frame = read(done.csv)
    assert list(frame[0]) == names
    assert done.csv.path is not None
    with done.csv.path.open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == names


async def test_a_run_that_embeds_nothing_leaves_no_csv(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(3)
    first = await sync(settings, bucket.name)
    second = await sync(settings, bucket.name)
    assert (second.csv.path, second.csv.rows) == (None, 0)
    assert csv_file.file_markdown(second.csv) == "Nothing was embedded, so there is no CSV.\n"
    assert first.csv.path is not None
    assert first.csv.path.exists()
    assert [path.name for path in settings.data_directory.rglob("*.csv")] == ["embeddings.csv"]


async def test_a_repeated_batch_and_a_copy_are_in_the_csv_once(
    run: Run, bucket: LocalBucket
) -> None:
    names = bucket.put_pictures(15)
    bucket.put("copy.png", picture(3))
    await prepare(run)
    await load(run)
    await embed_batch(run, 1)
    report = await write_csv.write_csv(run)
    assert report == await write_csv.write_csv(run)
    assert list(read(report)[0]) == names


async def test_a_batch_of_another_machine_is_written_from_the_table(
    run: Run, bucket: LocalBucket
) -> None:
    names = bucket.put_pictures(15)
    await prepare(run)
    await load(run)
    before = (await write_csv.write_csv(run), run.csv.read_bytes())
    run.part(1).unlink()
    assert (await write_csv.write_csv(run), run.csv.read_bytes()) == before
    assert list(read(before[0])[0]) == names


async def test_refused_images_are_not_in_the_csv(
    settings: Settings, bucket: LocalBucket, model_server: ModelServer
) -> None:
    bucket.put_pictures(2)
    bucket.put("broken.png", b"not a picture")
    async with open_run(options(bucket.name), settings, "test") as run:
        await prepare(run)
        await load(run)
        report = await write_csv.write_csv(run)
    assert report.rows == await model_server.answers() == 2


async def test_the_pages_show_where_it_is_its_names_and_first_numbers(
    run: Run, bucket: LocalBucket
) -> None:
    bucket.put_pictures(12)
    await prepare(run)
    await load(run)
    report = await write_csv.write_csv(run)
    page = csv_file.file_markdown(report)
    assert f"({run.csv.as_uri()}): 12 rows, 129 columns, no header" in page
    assert f"pd.read_csv({str(run.csv)!r}, header=None, keep_default_na=False)" in page
    preview = csv_file.preview(report)
    assert [row["image_id"] for row in preview] == [f"{number:04d}.png" for number in range(10)]
    assert list(preview[0]) == ["image_id", "v0", "v1", "v2", "..."]
    assert preview[0]["..."] == "125 more"
