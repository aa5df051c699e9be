"""What task runs are called."""

from types import SimpleNamespace
from typing import Any

import pytest

from tasks import names
from tasks.core.searching.question import Question
from tasks.core.types import Batch, BatchReport, cut_batches
from tasks.embedding import embed_batch
from tasks.loading import build_index, insert_batch, remove_gone, reuse_vectors
from tasks.planning import create_table, list_images, plan_sync
from tasks.publishing import publish, verify
from tasks.searching import ask_index, search_duplicates

LAST = Batch(number=2, first=101, last=165, total=165)
REPORT = BatchReport(2, 65, 60, 0, 5, 0, 0, 65, 60, 0, 0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    options = SimpleNamespace(bucket="birdwalk", prefix="planes/")
    opened = SimpleNamespace(options=options, spans={})
    monkeypatch.setattr(names, "current_run", lambda: opened)
    return opened


def name_of(task: Any, **parameters: Any) -> str:
    """Return the name that Prefect gives a run of the task."""
    named = task.task_run_name
    if isinstance(named, str):
        return named.format(**parameters)
    name: str = named(parameters=parameters) if parameters else named()
    return name


@pytest.mark.usefixtures("run")
def test_one_is_not_called_many() -> None:
    one = Batch(number=1, first=1, last=1, total=1)
    report = BatchReport(1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0)
    assert name_of(plan_sync, listing=SimpleNamespace(images=1)) == "plan sync of 1 image"
    assert name_of(insert_batch, report=report, batch=one) == "insert 1 row of 0001-0001"
    assert name_of(verify, index=SimpleNamespace(rows=1)) == "verify 1 row"
    published = name_of(publish, verdict=SimpleNamespace(rows=1), index="photos")
    assert published == "publish 1 row as photos"


@pytest.mark.usefixtures("run")
def test_each_task_run_says_what_and_how_many() -> None:
    listing = SimpleNamespace(images=10_000)
    assert name_of(list_images, bucket="birdwalk", prefix="planes/") == "list gs://birdwalk/planes/"
    create = name_of(create_table, index="photos", dimension=128)
    assert create == "create table of photos, 128 dimensions"
    assert name_of(plan_sync, listing=listing) == "plan sync of 10,000 images"
    assert name_of(embed_batch, batch=LAST) == "embed 0101-0165 of birdwalk/planes/"
    assert name_of(insert_batch, report=REPORT, batch=LAST) == "insert 60 rows of 0101-0165"
    assert name_of(remove_gone, plan=SimpleNamespace(gone=1_234)) == "remove 1,234 gone"
    assert name_of(build_index) == "build index"
    assert name_of(verify, index=SimpleNamespace(rows=9_999)) == "verify 9,999 rows"
    published = name_of(publish, verdict=SimpleNamespace(rows=9_999), index="photos")
    assert published == "publish 9,999 rows as photos"


def test_a_question_says_how_many_images_it_asks_for_and_duplicates_how_alike() -> None:
    ten = name_of(ask_index, index="photos", question=Question(text="a bird", count=10))
    assert ten == "ask photos for 10 images"
    one = name_of(ask_index, index="photos", question=Question(text="a bird", count=1))
    assert one == "ask photos for 1 image"
    alike = name_of(search_duplicates, index="photos", distance=0.3, prefix="")
    assert alike == "find duplicates up to 0.3 apart in photos"


def test_the_second_reuse_has_another_name(run: SimpleNamespace) -> None:
    assert name_of(reuse_vectors) == "reuse known vectors"
    run.spans["reuse_vectors"] = (0.0, 1.0)
    assert name_of(reuse_vectors) == "reuse vectors of twins"


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
