"""The flow, started from a terminal on the local stack."""

import re
import signal
from collections import defaultdict
from pathlib import Path

import asyncpg
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from prefect.client.orchestration import PrefectClient

from deployments.local.storage.samples import DEMO_QUERY
from tests.acceptance.conftest import SamplesRun
from tests.acceptance.programs import Finished, Program, end_of, until_logged
from tests.support.buckets import LocalBucket
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer

NEAREST = """
    SELECT image_id, embedding <-> (SELECT embedding FROM image_embeddings WHERE image_id = $1)
    FROM image_embeddings WHERE image_id <> $1 ORDER BY 2 LIMIT 5
"""
SLOWLY = ("--requests-per-minute", "600", "--batch-size", "10")
PICTURES = 60

LOGGED = re.compile(r"^[\d:.]+ \| (\w+) +\| ((?:Task|Flow) run '.+?') - (.+)$", re.MULTILINE)
PREFECTS_OWN = re.compile(r"Beginning flow run|View at http|Finished in state|Created ")


async def vectors_of(url: str) -> dict[str, np.ndarray]:
    """Return the view's embeddings by image_id, bit for bit."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT image_id, embedding::real[] FROM image_embeddings")
    finally:
        await connection.close()
    return {row[0]: np.array(row[1], np.float32) for row in rows}


async def table_of(url: str) -> str:
    """Return the table of the database's only space."""
    table: str = await fetchval(url, "SELECT 'birdwalk.vectors_' || space_id FROM birdwalk.spaces")
    return table


def test_the_samples_are_embedded_and_planes_are_nearest_to_the_plane(
    samples_run: SamplesRun,
) -> None:
    finished = samples_run.finished
    assert finished.status == 0, finished.err
    assert f"Nearest to {DEMO_QUERY}" in finished.out
    neighbours = finished.neighbours
    assert len(neighbours) == 5
    assert all(name.startswith("planes/") for name, _ in neighbours)
    assert [distance for _, distance in neighbours] == sorted(
        distance for _, distance in neighbours
    )
    assert DEMO_QUERY not in dict(neighbours)


def test_the_run_says_what_it_did_and_what_it_would_cost(samples_run: SamplesRun) -> None:
    finished = samples_run.finished
    for count in ("165 listed", "165 embedded", "0 unchanged", "0 refused"):
        assert count in finished.fact("images")
    assert finished.fact("price").startswith("$0.0165 on Vertex AI")
    assert finished.fact("pace").endswith("images/s")


def test_the_contact_sheet_is_a_picture(samples_run: SamplesRun) -> None:
    sheet = Path(samples_run.finished.fact("picture"))
    assert sheet.stat().st_size < 200_000
    with Image.open(sheet) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width >= 800
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 50, "nothing is drawn"


async def test_the_view_answers_with_the_printed_neighbours(samples_run: SamplesRun) -> None:
    rows = await fetch(samples_run.database_url, NEAREST, DEMO_QUERY)
    printed = samples_run.finished.neighbours
    assert [name for name, _ in rows] == [name for name, _ in printed]
    assert [distance for _, distance in rows] == pytest.approx([d for _, d in printed], abs=1e-4)


async def test_the_csv_holds_the_tables_very_numbers(samples_run: SamplesRun) -> None:
    path = samples_run.finished.fact("CSV")
    frame = pd.read_csv(path, header=None, dtype=dict.fromkeys(range(1, 129), np.float32))
    assert frame.shape == (165, 129)
    stored = await vectors_of(samples_run.database_url)
    assert set(frame[0]) == stored.keys()
    for image_id, *numbers in frame.itertuples(index=False):
        assert np.array_equal(np.array(numbers, np.float32), stored[image_id]), image_id


async def test_every_step_is_a_task_run_that_hangs_on_the_one_before(
    samples_run: SamplesRun, prefect_client: PrefectClient
) -> None:
    run_id = samples_run.finished.flow_run_id
    answer = await prefect_client._client.get(f"/flow_runs/{run_id}/graph-v2")
    nodes = {node["id"]: node for _, node in answer.json()["nodes"]}
    edges = {
        (nodes[parent["id"]]["label"].split()[0], node["label"].split()[0])
        for node in nodes.values()
        for parent in node["parents"]
    }
    for edge in (
        ("list", "create"),
        ("create", "plan"),
        ("plan", "embed"),
        ("embed", "insert"),
        ("insert", "write"),
        ("plan", "write"),
        ("write", "report"),
        ("report", "build"),
        ("build", "verify"),
        ("verify", "publish"),
    ):
        assert edge in edges, edges


def test_the_log_is_sentences_at_info_at_most_one_a_batch(samples_run: SamplesRun) -> None:
    said: defaultdict[str, list[str]] = defaultdict(list)
    tasks = set()
    for level, run, message in LOGGED.findall(samples_run.finished.err):
        assert level != "DEBUG", message
        tasks.add(run)
        if level == "INFO" and not PREFECTS_OWN.match(message):
            assert re.fullmatch(r"[^{}]{20,200}\.", message), "not a sentence"
            said[run].append(message)
    embedding, inserting = (
        sorted(run for run in tasks if run.startswith(f"Task run '{step} "))
        for step in ("embed", "insert")
    )
    assert (len(embedding), len(inserting)) == (3, 3)
    assert {run: len(said[run]) for run in embedding} == dict.fromkeys(embedding, 1)
    assert not [said[run] for run in inserting if said[run]]
    assert max(map(len, said.values())) == 1, said
    assert len(said) >= 8
    assert not [run for run in said if run.startswith("Flow run")]


async def test_a_second_run_asks_the_model_nothing(
    samples_run: SamplesRun, model_server: ModelServer
) -> None:
    before = await vectors_of(samples_run.database_url)
    finished = await samples_run.program.run("--bucket", "birdwalk")
    assert finished.status == 0, finished.err
    assert await model_server.calls() == 0
    for count in ("165 listed", " 0 embedded", "165 unchanged", "0 removed"):
        assert count in finished.fact("images")
    after = await vectors_of(samples_run.database_url)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def last_words(finished: Finished) -> str:
    """Return the last line on stderr, but for Prefect's word that it still sends its events."""
    return [line for line in finished.err.splitlines() if "EventsWorker" not in line][-1]


async def test_a_missing_bucket_is_said_in_one_line_at_the_end(embed_images: Program) -> None:
    finished = await embed_images.run("--bucket", "no-such-bucket")
    assert finished.status == 1
    assert finished.out == ""
    last = last_words(finished)
    assert last.startswith("BucketNotFound: Bucket 'no-such-bucket' does not exist."), last
    assert "Check the name" in last


async def test_a_wrong_option_is_refused_before_anything_starts(embed_images: Program) -> None:
    finished = await embed_images.run("--bucket", "birdwalk", "--dimension", "7")
    assert finished.status != 0
    assert "128, 256, 512, 1408" in finished.err
    assert "Beginning flow run" not in finished.err
    assert "Traceback" not in finished.err


async def test_ctrl_c_keeps_whole_batches_and_the_next_run_pays_for_the_rest(
    embed_images: Program, database_url: str, bucket: LocalBucket, model_server: ModelServer
) -> None:
    names = bucket.put_pictures(PICTURES)
    process = await embed_images.start("--bucket", bucket.name, *SLOWLY)
    await until_logged(process, "insert 10 vectors of 0001-0010' - Finished in state Completed")
    process.send_signal(signal.SIGINT)
    finished = await end_of(process)
    assert finished.status == 130
    assert "Interrupted." in finished.err
    assert "Traceback" not in finished.err

    run = "SELECT verdict, embedded FROM birdwalk.runs ORDER BY run_id DESC LIMIT 1"
    [(verdict, embedded)] = await fetch(database_url, run)
    table = await table_of(database_url)
    kept = await fetchval(database_url, f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of ours
    assert verdict == "cancelled"
    assert 0 < kept < PICTURES
    assert kept == embedded
    assert kept % 10 == 0, "half a batch was written"
    assert await fetchval(database_url, "SELECT to_regclass('image_embeddings')") is None

    await model_server.reset()
    again = await embed_images.run("--bucket", bucket.name, "--requests-per-minute", "60000")
    assert again.status == 0, again.err
    assert await model_server.answers() <= PICTURES - kept
    assert sorted(await vectors_of(database_url)) == names


async def test_a_failed_gate_leaves_a_new_space_unpublished_and_says_so(
    embed_images: Program, database_url: str, bucket: LocalBucket
) -> None:
    bucket.put_pictures(5)
    # The first run makes the table and stops before it pays: there is no such query.
    unknown = await embed_images.run("--bucket", bucket.name, "--query", "unknown.png")
    assert unknown.status == 1
    await _make_the_database_lose(database_url, "0003.png")
    finished = await embed_images.run("--bucket", bucket.name)
    assert finished.status == 1
    last = last_words(finished)
    assert last.startswith("GateFailed: The index is left as it was"), last
    assert "every listed image has a vector: 4 vectors for 5 images listed" in last
    assert "'0003.png'" in last
    [(verdict, message)] = await fetch(
        database_url, "SELECT verdict, message FROM birdwalk.runs ORDER BY run_id DESC LIMIT 1"
    )
    assert (verdict, message) == ("failed", last)
    assert await fetchval(database_url, "SELECT to_regclass('image_embeddings')") is None
    assert await fetchval(database_url, "SELECT published_at FROM birdwalk.spaces") is None
    assert "Traceback" not in finished.err

    await execute(database_url, f"DROP TRIGGER lose ON {await table_of(database_url)}")
    healed = await embed_images.run("--bucket", bucket.name)
    assert healed.status == 0, healed.err
    assert await fetchval(database_url, "SELECT count(*) FROM image_embeddings") == 5


async def _make_the_database_lose(url: str, image_id: str) -> None:
    """Have a trigger of the database's owner drop one image's vector as it is written."""
    table = await table_of(url)
    await execute(
        url,
        f"""
        CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.content_key IN (
                SELECT content_key FROM birdwalk.listings WHERE image_id = '{image_id}'
            ) THEN
                RETURN NULL;
            END IF;
            RETURN NEW;
        END $$
        """,  # noqa: S608 - a name of ours
    )
    await execute(
        url,
        f"CREATE TRIGGER lose BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION lose()",
    )
