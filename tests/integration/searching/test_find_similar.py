"""Each kind of question, asked of the samples, and of synthetic rows through the HNSW index."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from tasks.core.errors import InvalidInput, UnknownImage
from tasks.core.google.storage import object_link
from tasks.core.reports.similar import draw_answer
from tasks.core.searching.find_similar import Answer, find_similar
from tasks.core.searching.question import Question
from tasks.core.searching.searcher import Searcher, open_searcher
from tasks.core.settings import Settings
from tests.support.buckets import LocalBucket, picture
from tests.support.databases import execute, fetch, fetchval
from tests.support.model_server import ModelServer
from tests.support.sync import sync

INDEX = "image_embeddings"
PLANE = "planes/airplane.png"
PLANES = 20
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def names(answer: Answer) -> list[str]:
    return [found.image_id for found in answer.neighbours]


def kinds(answer: Answer) -> list[str]:
    return [name.split("/")[0] for name in names(answer)]


async def test_planes_are_nearest_to_a_plane_and_the_plane_itself_is_left_out(
    samples: Searcher, model_server: ModelServer
) -> None:
    answer = await find_similar(samples, INDEX, Question(image_id=PLANE))
    assert kinds(answer)[:5] == ["planes"] * 5
    assert PLANE not in names(answer)
    assert len(answer.neighbours) == 10
    distances = [found.distance for found in answer.neighbours]
    assert distances == sorted(distances)
    assert answer.uri == f"gs://birdwalk/{PLANE}"
    assert (answer.calls, await model_server.calls()) == (0, 0)


async def test_the_answer_is_that_of_the_seed_s_query(samples: Searcher) -> None:
    answer = await find_similar(samples, INDEX, Question(image_id=PLANE, count=5))
    rows = await fetch(
        samples.settings.database_url.get_secret_value(),
        """
        SELECT image_id, embedding <-> (SELECT embedding FROM image_embeddings WHERE image_id = $1)
        FROM image_embeddings WHERE image_id <> $1 ORDER BY 2 LIMIT 5
        """,
        PLANE,
    )
    assert [(found.image_id, found.distance) for found in answer.neighbours] == rows


async def test_an_address_of_the_index_costs_no_call_and_finds_the_same(
    samples: Searcher, model_server: ModelServer
) -> None:
    by_name = await find_similar(samples, INDEX, Question(image_id=PLANE))
    answer = await find_similar(samples, INDEX, Question(uri=f"gs://birdwalk/{PLANE}"))
    assert answer.neighbours == by_name.neighbours
    assert await model_server.calls() == 0


async def test_an_address_outside_the_index_is_read_by_the_model(
    samples: Searcher, bucket: LocalBucket, sample_files: Path, model_server: ModelServer
) -> None:
    bucket.put("elsewhere.png", (sample_files / PLANE).read_bytes())
    answer = await find_similar(samples, INDEX, Question(uri=f"gs://{bucket.name}/elsewhere.png"))
    assert names(answer)[0] == PLANE
    assert answer.neighbours[0].distance == pytest.approx(0, abs=1e-3)
    assert (answer.calls, await model_server.calls()) == (1, 1)


async def test_a_local_file_is_sent_and_finds_its_copy(
    samples: Searcher, sample_files: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.png"
    shutil.copy(sample_files / PLANE, path)
    answer = await find_similar(samples, INDEX, Question(file=path))
    assert names(answer)[0] == PLANE
    assert answer.neighbours[0].distance == pytest.approx(0, abs=1e-3)
    assert (answer.uri, answer.calls) == (None, 1)
    data = await find_similar(samples, INDEX, Question(data=path.read_bytes()))
    assert data.neighbours == answer.neighbours


async def test_a_large_photograph_held_upside_down_finds_what_it_shows(
    samples: Searcher, sample_files: Path, tmp_path: Path
) -> None:
    image = Image.open(sample_files / PLANE).resize((3000, 3000)).rotate(180)
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "large.jpg", quality=95, exif=exif)
    answer = await find_similar(samples, INDEX, Question(file=tmp_path / "large.jpg"))
    assert names(answer)[0] == PLANE
    assert answer.neighbours[0].distance < 0.2


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("airplane", "planes"),
        ("an airliner in the sky", "planes"),
        ("flamingo", "birds"),
        ("a violin", "instruments"),
        ("soccer ball", "balls"),
        ("a bird", "birds"),
        ("castle", "buildings"),
    ],
)
async def test_a_sentence_finds_its_kind(samples: Searcher, text: str, kind: str) -> None:
    answer = await find_similar(samples, INDEX, Question(text=text, count=3))
    assert kinds(answer)[0] == kind
    assert (answer.uri, answer.calls) == (None, 1)


async def test_a_text_that_the_model_cuts_is_answered_with_a_warning(samples: Searcher) -> None:
    answer = await find_similar(samples, INDEX, Question(text="airplane " * 40))
    assert kinds(answer)[0] == "planes"
    assert "40 words" in answer.warnings[0]


async def test_the_measures_agree_on_the_order_and_with_postgres(samples: Searcher) -> None:
    operators = {"l2": "<->", "cosine": "<=>", "inner_product": "<#>"}
    found = {}
    for metric, operator in operators.items():
        question = Question(image_id=PLANE, metric=metric)  # type: ignore[arg-type]  # one of them
        answer = await find_similar(samples, INDEX, question)
        found[metric] = names(answer)
        for neighbour in answer.neighbours:
            told = await fetchval(
                samples.settings.database_url.get_secret_value(),
                f"SELECT one.embedding {operator} other.embedding FROM image_embeddings AS one,"  # noqa: S608 - an operator of the table above
                " image_embeddings AS other WHERE one.image_id = $1 AND other.image_id = $2",
                PLANE,
                neighbour.image_id,
            )
            told = -told if metric == "inner_product" else told
            assert neighbour.distance == pytest.approx(told, abs=1e-5)
    assert found["l2"] == found["cosine"] == found["inner_product"]


async def test_a_prefix_leaves_only_what_begins_with_it(samples: Searcher) -> None:
    answer = await find_similar(samples, INDEX, Question(image_id=PLANE, prefix="birds/"))
    assert kinds(answer) == ["birds"] * 10
    few = await find_similar(samples, INDEX, Question(image_id=PLANE, prefix="birds/owl"))
    assert sorted(names(few)) == ["birds/owl-mirrored.jpg", "birds/owl.png"]
    assert few.warnings == ("2 images match; 10 were asked for.",)
    none = await find_similar(samples, INDEX, Question(image_id=PLANE, prefix="no such"))
    assert none.neighbours == ()


async def test_the_links_open_the_very_objects(samples: Searcher, sample_files: Path) -> None:
    answer = await find_similar(samples, INDEX, Question(image_id=PLANE, count=1))
    [found] = answer.neighbours
    link = object_link(samples.settings, found.bucket, found.image_id)
    assert link.startswith(samples.settings.storage_endpoint or "-")
    response = (await samples.storage())._http.get(link)
    assert response.content == (sample_files / found.image_id).read_bytes()


async def test_the_sheet_shows_the_question_and_the_neighbours(
    samples: Searcher, sample_files: Path
) -> None:
    answer = await find_similar(samples, INDEX, Question(file=sample_files / PLANE, count=3))
    path = await draw_answer(samples.settings, await samples.storage_or_none(), answer)
    with Image.open(path) as sheet:
        assert len(sheet.convert("RGB").getcolors(1 << 24) or ()) > 50
    assert path.stat().st_size < 200_000
    shown = path.read_bytes()
    # Without credentials there is a sheet of blank tiles.
    assert await draw_answer(samples.settings, None, answer) == path
    assert path.read_bytes() != shown


async def test_a_name_in_two_buckets_is_asked_by_its_address(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put("same.png", picture(1))
    await sync(settings, bucket.name)
    other = LocalBucket(f"{bucket.name}-2", bucket.client)
    other.client.create_bucket(other.name)
    other.put("same.png", picture(2))
    await sync(settings, other.name)
    async with open_searcher(settings) as searcher:
        with pytest.raises(InvalidInput, match=rf"gs://{bucket.name}/same\.png or gs://"):
            await find_similar(searcher, INDEX, Question(image_id="same.png"))
        question = Question(uri=f"gs://{bucket.name}/same.png", prefix="same")
        answer = await find_similar(searcher, INDEX, question)
        assert [found.uri for found in answer.neighbours] == [f"gs://{other.name}/same.png"]


async def test_a_date_is_asked_of_all_buckets_and_prefixes_whatever_was_listed_last(
    settings: Settings, url: str, bucket: LocalBucket
) -> None:
    bucket.put_pictures(3, "old/")
    await sync(settings, bucket.name)
    bucket.put_pictures(2, "new/")
    await sync(settings, bucket.name, prefix="new/")
    await sync(settings, "birdwalk", prefix="planes/")
    updated = "UPDATE birdwalk.images_1 SET updated = $1 WHERE image_id ~ $2"
    for prefix, day in (("^old/", 1), ("^new/", 2), ("^planes/", 3)):
        await execute(url, updated, FIRST_DAY.replace(day=day), prefix)
    await execute(url, updated, None, "^new/0001")
    async with open_searcher(settings) as searcher:
        for day, found in ((1, 3 + 1 + PLANES), (2, 1 + PLANES), (3, PLANES), (4, 0)):
            question = Question(
                uri=f"gs://birdwalk/{PLANE}", count=100, uploaded_after=FIRST_DAY.replace(day=day)
            )
            answer = await find_similar(searcher, INDEX, question)
            expected = found - 1 if found else 0  # the plane itself
            assert len(answer.neighbours) == expected
            assert len(answer.warnings) == 1


async def test_copies_are_at_distance_0_and_what_readers_do_not_see_is_not_found(
    settings: Settings, url: str, bucket: LocalBucket
) -> None:
    bucket.put_pictures(4)
    bucket.put_all(["copy-1.png", "copy-2.png"], picture(0))
    bucket.put("refused.png", picture(9))
    await sync(settings, bucket.name)
    # As where the model refuses the content: an image without a vector.
    lost = "DELETE FROM birdwalk.vectors_1 USING birdwalk.images_1 WHERE image_id = 'refused.png'"
    await execute(url, f"{lost} AND images_1.content_key = vectors_1.content_key")
    async with open_searcher(settings) as searcher:
        answer = await find_similar(searcher, INDEX, Question(image_id="0000.png"))
        assert names(answer)[:2] == ["copy-1.png", "copy-2.png"]
        assert [found.distance for found in answer.neighbours[:2]] == [0, 0]
        assert sorted(names(answer)[2:]) == ["0001.png", "0002.png", "0003.png"]
        with pytest.raises(UnknownImage, match=r"is not in index 'image_embeddings'\. Give"):
            await find_similar(searcher, INDEX, Question(image_id="refused.png"))


async def test_the_space_that_readers_see_is_asked_and_no_other(
    settings: Settings, bucket: LocalBucket
) -> None:
    bucket.put_pictures(5)
    question = Question(text="airplane", count=2)
    async with open_searcher(settings) as searcher:
        for dimension in (256, 128, 256):
            await sync(settings, bucket.name, dimension=dimension)
            answer = await find_similar(searcher, INDEX, question)
            assert answer.space.dimension == dimension
