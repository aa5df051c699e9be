import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from google.api_core.exceptions import GoogleAPICallError
from numpy.typing import NDArray

from deployments.local.model.model import EmbeddingModel
from deployments.local.storage.samples import ensure_samples, list_samples
from deployments.local.vertex.options import ModelServerOptions
from tests.integration.local.vertex_client import MODEL, Vertex, image_at, image_of, serve
from tests.support.servers.record import content_of, read_record

PLANE = "planes/airplane.png"
RECORD = "answers.jsonl"
ODD_NAME = "100% 'old' + new?#, ✈.png"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = ensure_samples(tmp_path_factory.mktemp("vertex") / "pictures")
    (folder / ODD_NAME).write_bytes((folder / PLANE).read_bytes())
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def vertex(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Vertex]:
    state = tmp_path_factory.mktemp("state")
    async with serve(pictures, state, ModelServerOptions(), state / RECORD) as vertex:
        yield vertex


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def vectors(vertex: Vertex, pictures: Path) -> dict[str, NDArray[np.float32]]:
    names = [sample.name for sample in list_samples(pictures) if sample.path.suffix == ".png"]
    embedded = await asyncio.gather(*(vertex.embed(name) for name in names))
    return dict(zip(names, embedded, strict=True))


@pytest.mark.parametrize("dimension", [128, 256, 512, 1408])
async def test_an_image_gets_a_unit_vector_of_the_dimension(vertex: Vertex, dimension: int) -> None:
    vector = await vertex.embed(PLANE, dimension)
    assert vector.shape == (dimension,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


async def test_1408_dimensions_are_the_default(vertex: Vertex) -> None:
    response = await vertex.client.predict(endpoint=MODEL, instances=[image_at(PLANE)])
    assert len(response.predictions[0]["imageEmbedding"]) == 1408


async def test_an_image_has_one_vector_by_uri_by_bytes_and_in_a_plain_loop(
    vertex: Vertex, pictures: Path
) -> None:
    by_uri = await vertex.embed(PLANE)
    response = await vertex.predict(image_of((pictures / PLANE).read_bytes()))
    by_bytes = np.array(response.predictions[0]["imageEmbedding"], np.float32)
    (in_a_loop,) = EmbeddingModel(threads=None).embed_files([pictures / PLANE], 128)
    assert np.array_equal(by_uri, by_bytes)
    assert np.allclose(by_uri, in_a_loop, atol=1e-5)


async def test_each_answer_about_a_picture_is_on_the_record_when_it_arrives(
    vertex: Vertex, pictures: Path
) -> None:
    record = vertex.process.program.log.with_name(RECORD)
    before = len(read_record(record))
    data = (pictures / PLANE).read_bytes()
    await vertex.embed(PLANE)
    await vertex.predict(image_of(data))
    await vertex.embed_text("no picture")
    with pytest.raises(GoogleAPICallError):
        await vertex.embed("not/there.png")
    by_uri, by_bytes = read_record(record)[before:]
    assert (by_uri.uri, by_bytes.uri) == (f"gs://birdwalk/{PLANE}", None)
    assert by_uri.content == by_bytes.content == content_of(data)
    assert by_uri.at <= by_bytes.at


async def test_any_object_name_is_fetched(vertex: Vertex) -> None:
    assert np.array_equal(await vertex.embed(ODD_NAME), await vertex.embed(PLANE))


async def test_planes_lie_near_planes_and_birds_near_birds(
    vectors: dict[str, NDArray[np.float32]],
) -> None:
    names = [name for name in vectors if name.startswith(("planes/", "birds/"))]
    matrix = np.stack([vectors[name] for name in names])
    likeness = matrix @ matrix.T
    np.fill_diagonal(likeness, -1)
    nearest = [names[number] for number in likeness.argmax(axis=1)]
    same = [
        Path(name).parent == Path(near).parent for name, near in zip(names, nearest, strict=True)
    ]
    assert len(same) > 20
    assert np.mean(same) >= 0.9


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a plane", "planes/airplane-arriving.png"),
        ("soccer balls", "balls/soccer-ball.png"),
        ("a violin", "instruments/violin.png"),
        ("church", "buildings/church.png"),
        ("minibus", "cars/minibus.png"),
    ],
)
async def test_a_text_finds_its_picture_among_all(
    vertex: Vertex, vectors: dict[str, NDArray[np.float32]], text: str, name: str
) -> None:
    asked = await vertex.embed_text(text)
    order = sorted(vectors, key=lambda each: -float(vectors[each] @ asked))
    assert name in order[:3]


async def test_image_and_text_are_answered_together(vertex: Vertex) -> None:
    response = await vertex.predict({**image_at(PLANE), "text": "a plane"})
    (prediction,) = response.predictions
    image, text = await vertex.embed(PLANE), await vertex.embed_text("a plane")
    assert set(prediction) == {"imageEmbedding", "textEmbedding"}
    assert np.array_equal(np.array(prediction["imageEmbedding"], np.float32), image)
    assert np.array_equal(np.array(prediction["textEmbedding"], np.float32), text)
