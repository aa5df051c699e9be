"""How numbers are said."""

import pytest

from tasks.core.text import count, dollars


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls"), (12_345, "12,345 calls")]
)
def test_one_is_told_from_many(number: int, shown: str) -> None:
    assert count(number, "call") == shown


def test_a_word_may_have_a_plural_of_its_own() -> None:
    assert [count(n, "batch", "batches") for n in (1, 2)] == ["1 batch", "2 batches"]
    assert count(1, "image is", "images are") == "1 image is"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0.00"),
        (0.00001, "less than $0.0001"),
        (0.0001, "$0.0001"),
        (0.0165, "$0.0165"),
        (0.001, "$0.001"),
        (165 * 0.0001, "$0.0165"),
        (0.5, "$0.50"),
        (20, "$20.00"),
        (1.0041, "$1.0041"),
        (12_345.6, "$12,345.60"),
    ],
)
def test_a_price_keeps_its_parts_of_a_cent_and_no_empty_digits(amount: float, shown: str) -> None:
    assert dollars(amount) == shown


@pytest.mark.parametrize("calls", [1, 3, 47, 165, 10_000])
def test_a_price_of_some_calls_is_never_shown_as_nothing(calls: int) -> None:
    assert float(dollars(calls * 0.0001).lstrip("$")) == pytest.approx(calls * 0.0001)
