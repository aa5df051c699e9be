import json
import os
from pathlib import Path

import orjson
import pytest
from PIL import Image

from tasks.core.pictures.sheet import Tile, _draw, as_data_uri
from tasks.core.reports import similar
from tasks.core.reports.similar import answer_json, answer_markdown, sheet_path
from tasks.core.searching.find_similar import Answer
from tasks.core.searching.question import Question
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tasks.core.types import Neighbour

SPACE = Space(7, 7, "photos", "multimodalembedding@001", 128, "none", "active")
SETTINGS = Settings(storage_endpoint="https://example.com")
LINK = "https://example.com/storage/v1/b/bucket/o"
NAMES = ["plane.png", "a|b`c](d).png"]


def answer(question: Question) -> Answer:
    found = tuple(Neighbour("bucket", name, rank / 10) for rank, name in enumerate(NAMES, start=1))
    return Answer(question, SPACE, None, found, 1, ("Beware.",))


def sentence_tile(text: str) -> Image.Image:
    return _draw([Tile("", "the query", None, sentence=text)])


@pytest.mark.parametrize(
    "text",
    ["bird", "a bird on the water", "word " * 200, "x" * 1024, "шесть 鳥 🦩", "a\nb", "\u202e\x07"],
    ids=lambda text: ascii(text[:12]),
)
def test_a_sentence_is_written_inside_its_tile(text: str) -> None:
    sheet = sentence_tile(text)
    tile = sheet.crop((26, 26, 314, 314))
    assert len(tile.getcolors(100_000) or ()) > 1, "nothing is written"
    # The frame is 20 to 320, and nothing is written beyond it.
    around = [sheet.crop(box) for box in ((0, 0, 20, 320), (321, 0, 340, 320), (0, 0, 340, 20))]
    assert all(edge.getcolors() == [(edge.width * edge.height, (255, 255, 255))] for edge in around)


def test_a_short_sentence_is_written_larger_than_a_long_one() -> None:
    short, long = (sentence_tile(text).crop((26, 26, 314, 314)) for text in ("I", "I " * 300))
    heights = [
        Image.eval(tile.convert("L"), lambda value: 255 - value).getbbox() for tile in (short, long)
    ]
    assert heights[0] is not None
    assert heights[1] is not None
    assert heights[0][3] - heights[0][1] > 20
    assert heights[1][3] - heights[1][1] > 200


def test_the_page_links_each_name_and_shows_the_warnings() -> None:
    page = answer_markdown(SETTINGS, answer(Question(text="a bird", metric="cosine")), b"png")
    assert "# Nearest to `“a bird”`" in page
    assert "> Beware." in page
    assert as_data_uri(b"png") in page
    assert "| rank | image | cosine distance |" in page
    assert f"| 1 | [plane.png]({LINK}/plane.png?alt=media) | 0.1000 |" in page
    assert f"| 2 | [`a\\|b'c](d).png`]({LINK}/a%7Cb%60c%5D%28d%29.png?alt=media) | 0.2000 |" in page


def test_programs_get_the_question_the_space_and_the_neighbours() -> None:
    asked = answer(Question(file=Path("plane.jpg"), count=2))
    read = json.loads(json.dumps(answer_json(SETTINGS, asked, Path("sheet.png"), None)))
    assert read["question"]["file"] == "plane.jpg"
    assert read["space"]["dimension"] == 128
    assert [found["uri"] for found in read["neighbours"]] == [f"gs://bucket/{n}" for n in NAMES]
    assert [found["rank"] for found in read["neighbours"]] == [1, 2]
    assert read["neighbours"][0]["link"] == f"{LINK}/plane.png?alt=media"
    assert (read["calls"], read["warnings"]) == (1, ["Beware."])
    assert (read["picture"], read["run"]) == ("sheet.png", None)


def test_each_question_has_a_picture_of_its_own_and_the_same_one_again() -> None:
    settings = Settings(data_directory=Path("data"))
    questions = [Question(text="a bird"), Question(text="a bird", count=3), Question(data=b"1")]
    paths = [sheet_path(settings, "photos", question) for question in questions]
    paths += [
        sheet_path(settings, "others", questions[0]),
        sheet_path(settings, "photos", Question(data=b"2")),
    ]
    assert len(set(paths)) == 5
    assert sheet_path(settings, "photos", Question(text="a bird")) == paths[0]


def test_the_sheets_of_the_last_questions_stay_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "SHEETS_KEPT", 2)
    settings = Settings(data_directory=tmp_path)
    paths = [sheet_path(settings, "photos", Question(text=text)) for text in "abcd"]
    for second, path in enumerate(paths):
        similar._write_sheet(path, b"png")
        os.utime(path, (second, second))
    assert set(paths[0].parent.iterdir()) == set(paths[2:])


def test_a_file_whose_name_is_no_text_is_told_to_programs() -> None:
    asked = answer(Question(file=Path("a\udcff.png")))
    told = orjson.dumps(answer_json(SETTINGS, asked, None, None))
    assert orjson.loads(told)["question"]["file"] == "a�.png"
