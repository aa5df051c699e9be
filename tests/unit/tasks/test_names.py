"""What task runs are called."""

from types import SimpleNamespace
from typing import Any

import pytest

from tasks import names
from tasks.core.types import Batch, Counts, cut_batches
from tasks.embedding import embed_batch, report_outcomes
from tasks.loading import build_index, insert_batch, write_csv
from tasks.planning import create_table, list_images, plan_sync
from tasks.publishing import publish, verify

LAST = Batch(number=2, first=101, last=165, total=165)
COUNTS = Counts(images=65, embedded=60, refused=5, calls=65, answers=60)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    options = SimpleNamespace(bucket="birdwalk", prefix="planes/")
    opened = SimpleNamespace(options=options, listed=10_000)
    monkeypatch.setattr(names, "current_run", lambda: opened)
    return opened


def name_of(task: Any, **parameters: Any) -> str:
    """Return the name that Prefect gives a run of the task."""
    named = task.task_run_name
    if isinstance(named, str):
        return named.format(**parameters)
    name: str = named(parameters=parameters) if parameters else named()
    return name


def test_one_is_not_called_many(run: SimpleNamespace) -> None:
    run.listed = 1
    one = Batch(number=1, first=1, last=1, total=1)
    assert name_of(plan_sync) == "plan sync of 1 image"
    assert name_of(insert_batch, counts=Counts(embedded=1), batch=one) == (
        "insert 1 vector of 0001-0001"
    )
    assert name_of(verify) == "verify 1 image"
    published = name_of(publish, index="photos")
    assert published == "publish 1 image as photos"


@pytest.mark.usefixtures("run")
def test_each_task_run_says_what_and_how_many() -> None:
    assert name_of(list_images, bucket="birdwalk", prefix="planes/") == "list gs://birdwalk/planes/"
    create = name_of(create_table, index="photos", dimension=128)
    assert create == "create table of photos, 128 dimensions"
    assert name_of(plan_sync) == "plan sync of 10,000 images"
    assert name_of(embed_batch, batch=LAST) == "embed 0101-0165 of birdwalk/planes/"
    assert name_of(insert_batch, counts=COUNTS, batch=LAST) == "insert 60 vectors of 0101-0165"
    assert name_of(write_csv) == "write CSV"
    assert name_of(report_outcomes) == "report outcomes"
    assert name_of(build_index) == "build index"
    assert name_of(verify) == "verify 10,000 images"
    assert name_of(publish, index="photos") == "publish 10,000 images as photos"


@pytest.mark.parametrize(("images", "asked"), [(10, "10 images"), (1, "1 image")])
def test_a_question_says_how_many_images_it_asks_for(images: int, asked: str) -> None:
    question = SimpleNamespace(count=images)
    name = names.ask_name({"index": "photos", "question": question})
    assert name == f"ask photos for {asked}"


@pytest.mark.parametrize(("total", "first"), [(9, "0001-0009"), (12_345, "00001-05000")])
def test_numbers_are_as_wide_as_the_total_so_that_names_sort(total: int, first: str) -> None:
    shown = [names.numbers(batch) for batch in cut_batches(total, 5000)]
    assert shown[0] == first
    assert shown == sorted(shown)


def test_a_long_prefix_keeps_its_ends_on_one_line() -> None:
    place = names.place("birdwalk", "2026/" + "x" * 1000 + "\n/planes/")
    assert len(place) <= names.LONGEST_PLACE
    assert place.startswith("birdwalk/2026/x")
    assert place.endswith("x?/planes/")
    assert "…" in place
