from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import InvalidInput
from tasks.core.searching.question import FROM_L2, Question, parse_uri


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"text": "a bird", "image_id": "bird.png"},
        {"uri": "gs://bucket/bird.png", "file": Path("bird.png")},
        {"data": b"", "text": "a bird"},
    ],
    ids=lambda given: " and ".join(given) or "nothing",
)
def test_a_question_is_asked_in_exactly_one_way(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="Give exactly one of image_id, uri, file or text"):
        Question(**given)  # type: ignore[arg-type]  # real fields


@pytest.mark.parametrize("count", [0, -1, 101])
def test_a_count_out_of_bounds_is_refused(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"count is {count}; expected 1 to 100"):
        Question(text="a bird", count=count)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'dot'; expected one of l2, cosine, inner_product"):
        Question(text="a bird", metric="dot")  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="text is empty"):
        Question(text=text)


def test_a_text_may_have_1024_characters_and_no_more() -> None:
    Question(text="x" * 1024)
    with pytest.raises(InvalidInput, match=r"1,025 characters; the model takes at most 1,024"):
        Question(text="x" * 1025)


@pytest.mark.parametrize("field", ["image_id", "prefix"])
def test_a_name_with_a_nul_is_refused(field: str) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        Question(**{"image_id": "bird.png", field: "a\0b"})  # type: ignore[arg-type]  # real fields


@pytest.mark.parametrize("uri", ["bird.png", "gs://", "gs://bucket", "gs://bucket/", "s3://b/o"])
def test_what_is_no_objects_address_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="expected gs://bucket/name"):
        Question(uri=uri)


def test_an_address_is_a_bucket_and_a_name_that_may_hold_anything() -> None:
    assert parse_uri("gs://bucket/a/b\nc?d#e.png") == ("bucket", "a/b\nc?d#e.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [("bird " * 32, None), ("bird " * 33, 33), ("bird, " * 17, 34), ("зяблик ✈ " * 20, 40)],
)
def test_a_text_that_google_would_cut_is_warned_of(text: str, words: int | None) -> None:
    warnings = Question(text=text).warnings
    assert len(warnings) == (words is not None)
    assert all(f"{words} words" in one and "about the first 32" in one for one in warnings)


def test_a_time_without_a_zone_is_utc() -> None:
    asked = Question(text="a bird", uploaded_after=datetime(2026, 11, 1))  # noqa: DTZ001 - the point
    assert asked.since == datetime(2026, 11, 1, tzinfo=UTC)
    berlin = datetime(2026, 11, 1, tzinfo=timezone(timedelta(hours=1)))
    assert Question(text="a bird", uploaded_after=berlin).since == berlin


def test_the_other_measures_follow_from_the_l2_distance_of_unit_vectors() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        one, other = random.standard_normal((2, 128))
        one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
        l2 = float(np.linalg.norm(one - other))
        assert FROM_L2["l2"](l2) == l2
        assert FROM_L2["cosine"](l2) == pytest.approx(1 - one @ other)
        assert FROM_L2["inner_product"](l2) == pytest.approx(one @ other)
    assert [FROM_L2[metric](0.0) for metric in ("l2", "cosine", "inner_product")] == [0, 0, 1]
