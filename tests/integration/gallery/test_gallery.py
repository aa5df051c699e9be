"""The gallery's answers, on the real stack: what it shows, what it costs, what it keeps back."""

import asyncio
import io
import secrets
from pathlib import Path

import httpx
import pytest
from PIL import Image

from deployments.gallery import endpoints, service
from tasks.core.google.vertex import VertexEmbedder
from tasks.core.planning.create_table import create_table
from tasks.core.runs.lifecycle import open_run
from tasks.core.searching import browse
from tasks.core.settings import Settings
from tasks.core.types import Vector
from tests.support.buckets import LocalBucket
from tests.support.databases import TEMPLATE, address_of, execute, fetchval, secret
from tests.support.drawings import draw_bird, encode, sky
from tests.support.gallery import read, refused, running_gallery
from tests.support.model_server import ModelServer
from tests.support.sync import options, sync
from tests.support.waiting import until

ENDED = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1"
PLANE = "gs://birdwalk/planes/airplane.png"


async def test_the_pages_hold_every_image_once_and_lead_back(gallery: httpx.AsyncClient) -> None:
    first = await read(gallery, "/api/images")
    second = await read(gallery, "/api/images", after=first["after"])
    names = [image["name"] for image in first["images"] + second["images"]]
    assert names == sorted(set(names), key=str.encode)
    assert (len(first["images"]), len(names)) == (100, 165)
    assert (first["before"], second["after"]) == (None, None)
    assert await read(gallery, "/api/images", before=second["before"]) == first
    birds = await read(gallery, "/api/images", prefix="birds/")
    assert {image["name"].split("/")[0] for image in birds["images"]} == {"birds"}
    assert (len(birds["images"]), birds["before"], birds["after"]) == (24, None, None)


async def test_a_click_costs_no_call(gallery: httpx.AsyncClient, model_server: ModelServer) -> None:
    answer = await read(gallery, "/api/similar", image=PLANE)
    distances = [image["distance"] for image in answer["images"]]
    assert [image["name"].split("/")[0] for image in answer["images"][:5]] == ["planes"] * 5
    assert distances == sorted(distances)
    assert (len(distances), answer["asked"]["uri"]) == (48, PLANE)
    assert (answer["calls"], await model_server.calls()) == (0, 0)


async def test_a_sentence_costs_one_call_however_often_it_is_asked(
    gallery: httpx.AsyncClient, model_server: ModelServer
) -> None:
    first = await read(gallery, "/api/similar", text="flamingo")
    assert first["images"][0]["name"].startswith("birds/flamingo")
    again = await read(gallery, "/api/similar", text="flamingo", prefix="birds/")
    assert {image["name"].split("/")[0] for image in again["images"]} == {"birds"}
    assert (first["calls"], again["calls"], await model_server.calls()) == (1, 0, 1)


async def test_a_dropped_picture_is_asked_with_by_the_name_it_gets(
    gallery: httpx.AsyncClient, model_server: ModelServer, sample_files: Path
) -> None:
    large = io.BytesIO()
    Image.open(sample_files / "planes/airplane.png").resize((1500, 1500)).save(large, "JPEG")
    answer = await gallery.post("/api/pictures", content=large.getvalue())
    assert answer.status_code == 201
    assert await model_server.calls() == 0
    name = answer.json()["picture"]
    found = await read(gallery, "/api/similar", picture=name)
    assert found["images"][0]["name"].startswith("planes/airplane")
    assert found["asked"] is None
    await read(gallery, "/api/similar", picture=name, prefix="planes/")
    assert await model_server.calls() == 1
    shown = await gallery.get(found["picture"])
    assert Image.open(io.BytesIO(shown.content)).size == (512, 512)


async def test_a_dropped_picture_is_cropped_as_those_of_the_index_were(
    settings: Settings, bucket: LocalBucket
) -> None:
    scenes = []
    for number, colour in enumerate(("#c08030", "#f4f4f4", "#b03030")):
        scene = sky(1600, 1200, number)
        draw_bird(scene, 200 + 225 * number, 150 + 60 * number, 200 + 50 * number, colour)
        scenes.append(encode(scene))
        bucket.put(f"{number}.png", scenes[number])
    await sync(settings, bucket.name, crop="subject")
    async with running_gallery(settings) as client:
        answer = await client.post("/api/pictures", content=scenes[1])
        name = answer.json()["picture"]
        found = await read(client, "/api/similar", picture=name)
        assert found["images"][0]["name"] == "1.png"
        assert found["images"][0]["distance"] == pytest.approx(0, abs=1e-3)
        assert found["images"][1]["distance"] > 0.1
        # The page shows the whole of it.
        shown = await client.get(found["picture"])
        assert Image.open(io.BytesIO(shown.content)).size == (683, 512)
        await sync(settings, bucket.name)
        status, sentence = await refused(client, "/api/similar", picture=name)
        assert (status, "Give the picture again" in sentence) == (400, True)


async def test_what_cannot_be_asked_is_said_in_a_sentence(
    gallery: httpx.AsyncClient, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for query, status, sentence in (
        ({"text": " "}, 400, "The text is empty"),
        ({"text": "x" * 1025}, 400, "1,025 characters"),
        ({}, 400, "Asked with nothing"),
        ({"text": "a", "image": PLANE}, 400, "Asked with uri and text"),
        ({"image": "gs://birdwalk/LICENSE.txt"}, 404, "is not in index 'image_embeddings'"),
        ({"image": "planes/airplane.png"}, 400, "expected gs://bucket/name"),
        ({"image": "gs://birdwalk/\0"}, 400, "NUL"),
        ({"picture": "0" * 32}, 404, "Drop it on the page again"),
        ({"text": "a", "count": "101"}, 400, "expected 1 to 100"),
        ({"text": "a", "count": "-1"}, 400, "expected a number"),
        ({"text": "a", "prefix": "x" * 1025}, 400, "longer than any name"),
        ({"text": "a", "index": "none"}, 404, "Index 'none' does not exist"),
        ({"text": "a", "index": "\0"}, 400, "NUL"),
    ):
        told = await refused(gallery, "/api/similar", **query)
        assert told[0] == status, query
        assert sentence in told[1], query
    for body, sentence in (
        (b"", "The picture is empty"),
        (b"no picture", "The picture is not a picture. Give a .bmp, .gif, .jpeg"),
        (bytes(20_000_001), "more than 20 MB"),
    ):
        answer = await gallery.post("/api/pictures", content=body)
        assert (answer.status_code, sentence in answer.json()["error"]) == (400, True), sentence
    assert await model_server.calls() == 0
    monkeypatch.setattr("tasks.core.searching.question_vector.FIRST_WAIT_SECONDS", 0.01)
    await model_server.configure(error_rates={"UNAVAILABLE": 1.0})
    status, sentence = await refused(gallery, "/api/similar", text="a parrot")
    assert status == 503
    assert sentence
    await model_server.configure()
    await read(gallery, "/api/similar", text="a parrot")


async def test_more_questions_than_the_model_is_asked_at_once_wait_and_then_are_refused(
    gallery: httpx.AsyncClient, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MODEL_QUESTIONS_WAITING", 3)
    released, embed_text = asyncio.Event(), VertexEmbedder.embed_text
    asking = most = 0

    async def embed_late(embedder: VertexEmbedder, text: str) -> Vector:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await released.wait()
        vector = await embed_text(embedder, text)
        asking -= 1
        return vector

    async def all_ask() -> bool:
        return asking == service.MODEL_QUESTIONS_AT_ONCE

    monkeypatch.setattr(VertexEmbedder, "embed_text", embed_late)
    await model_server.configure(instant=True)
    asked = [gallery.get("/api/similar", params={"text": f"bird {number}"}) for number in range(10)]
    statuses = []
    for answer in asyncio.as_completed(asked):
        statuses.append((await answer).status_code)
        if statuses == [503] * 3:
            # As many as may ask; were more let in, a moment would show it.
            await until(all_ask)
            await asyncio.sleep(0.2)
            released.set()
    assert statuses == [503] * 3 + [200] * 7
    assert most == service.MODEL_QUESTIONS_AT_ONCE


async def test_an_index_that_is_missing_or_empty_is_shown_as_soon_as_it_is_there(
    settings: Settings, bucket: LocalBucket
) -> None:
    async with running_gallery(settings) as client:
        assert await read(client, "/api/indexes") == []
        status, sentence = await refused(client, "/api/images")
        assert (status, "'image_embeddings' does not exist" in sentence) == (404, True)
        async with open_run(options(bucket.name), settings, "test") as run:
            await create_table(run)
        assert "has not been published yet" in (await refused(client, "/api/images"))[1]
        bucket.put_pictures(3)
        await sync(settings, bucket.name)
        assert len((await read(client, "/api/images"))["images"]) == 3
        assert (await read(client, "/api/indexes"))[0]["images"] == 3
        bucket.put("0004.png")
        await sync(settings, bucket.name)
        # Counted anew as soon as another state is shown.
        assert (await read(client, "/api/indexes"))[0]["images"] == 4
        await sync(settings, bucket.name, index="another")
        names = [each["name"] for each in await read(client, "/api/indexes")]
        assert names == ["image_embeddings", "another"]
        await execute(settings.database_url.get_secret_value(), "DELETE FROM birdwalk.images_1")
        assert "holds no image. Run embed-images" in (await refused(client, "/api/images"))[1]
        assert len((await read(client, "/api/images", index="another"))["images"]) == 4
    async with running_gallery(settings, "nothing") as client:
        # The one it was started with is not there: any other is shown.
        assert (await read(client, "/api/images"))["index"] == "another"


async def test_it_makes_nothing_in_a_database_without_an_index(
    settings: Settings, bare_database_url: str
) -> None:
    bare = settings.model_copy(update={"database_url": secret(bare_database_url)})
    async with running_gallery(bare) as client:
        assert "holds no index yet" in (await refused(client, "/api/images"))[1]
    schema = "SELECT to_regnamespace('birdwalk')::text"
    assert await fetchval(bare_database_url, schema) is None


async def test_a_database_that_comes_back_is_shown_again(
    settings: Settings, database_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "AGAIN_SECONDS", 0.0)
    name = f"test_{secrets.token_hex(4)}"
    theirs = settings.model_copy(update={"database_url": secret(address_of(database_server, name))})
    async with running_gallery(theirs) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/")).status_code == 200
        away = await client.get("/api/images")
        assert (away.status_code, away.json()["passing"]) == (503, True)
        assert "Check BIRDWALK_DATABASE_URL" in away.json()["error"]
        await execute(database_server, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
        assert await read(client, "/api/indexes") == []
        # Its connections die while it is being looked at.
        for _ in range(2):
            await execute(database_server, ENDED, name)
            assert await read(client, "/api/indexes") == []
    await execute(database_server, f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_the_state_of_the_index_is_told(gallery: httpx.AsyncClient) -> None:
    status = await read(gallery, "/api/status")
    [space] = status["spaces"]
    assert (space["images"], space["status"], space["dimension"]) == (165, "active", 128)
    assert [sync["source"] for sync in status["syncs"]] == ["gs://birdwalk/"]


async def test_the_first_folders_are_told_and_how_many_more_there_are(
    gallery: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await read(gallery, "/api/folders")
    assert whole["folders"][:3] == ["balls/", "birds/", "buildings/"]
    assert (whole["more"], whole["exact"]) == (0, True)
    monkeypatch.setattr(endpoints, "FOLDERS", 2)
    some = await read(gallery, "/api/folders")
    assert some["folders"] == ["balls/", "birds/"]
    assert some["more"] == len(whole["folders"]) - 2
    monkeypatch.setattr(browse, "MOST_HOPS", len(whole["folders"]))
    assert not (await read(gallery, "/api/folders"))["exact"]
