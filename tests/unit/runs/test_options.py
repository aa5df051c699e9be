from typing import Any

import pytest

from tasks.core.errors import BirdwalkError, InvalidIndexName, InvalidInput
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import current_run


def test_a_bucket_is_enough() -> None:
    options = SyncOptions(bucket="planes")
    assert (options.index, options.dimension) == ("image_embeddings", 128)
    assert options.preprocessing == "none"


def test_a_way_of_cropping_has_its_number() -> None:
    assert SyncOptions(bucket="planes", crop="subject").preprocessing == "crop-subject-1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bucket": ""}, "No bucket was named"),
        ({"model": "resnet"}, "'resnet' is not known"),
        ({"dimension": 64}, "no 64-dimensional vectors"),
        ({"crop": "sky"}, "crop is 'sky'; expected none or subject"),
        ({"limit": 0}, "limit is 0"),
        ({"limit": -1}, "limit is -1"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"requests_per_minute": 0}, "requests_per_minute is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_deletions": -0.1}, "max_deletions is -0.1"),
        ({"max_deletions": 1.1}, "max_deletions is 1.1"),
        ({"max_refusals": 2}, "max_refusals is 2"),
        ({"max_leftovers": -1}, "max_leftovers is -1"),
        ({"max_price": -1}, "max_price is -1"),
        ({"index": ""}, "'' cannot be a Postgres name"),
        ({"index": "a\0b"}, "cannot be a Postgres name"),
        ({"index": "é" * 32}, "1 to 63 bytes"),
    ],
    ids=lambda value: ascii(value) if isinstance(value, dict) else "",
)
def test_each_value_that_cannot_work_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SyncOptions(**{"bucket": "planes", **changes})


@pytest.mark.parametrize(
    "index", ['x"; DROP TABLE t; --', "Köln ✈", "a b", "UPPER", "é" * 31 + "x", "{table}"]
)
def test_an_odd_index_name_is_only_a_name(index: str) -> None:
    assert SyncOptions(bucket="planes", index=index).index == index


def test_a_bad_index_name_is_a_kind_of_invalid_input() -> None:
    with pytest.raises(InvalidIndexName):
        SyncOptions(bucket="planes", index="x" * 64)
    assert issubclass(InvalidIndexName, InvalidInput)
    assert issubclass(InvalidInput, BirdwalkError)


def test_a_task_outside_its_flow_says_so() -> None:
    with pytest.raises(InvalidInput, match="No run is open"):
        current_run()
