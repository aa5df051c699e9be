"""The range of names that begin with a prefix."""

import pytest

from tasks.core.errors import InvalidInput
from tasks.core.searching.browse import BEHIND_ALL_NAMES, LAST_CHARACTER, end_of_prefix

NAMES = ["a", "ab", "a\U0010ffff", "a\U0010ffffz", "b", "\ud7ff", "\ue000", "é", "z" * 1024, "✈"]


@pytest.mark.parametrize("prefix", ["", "a", "ab", "a\U0010ffff", "\ud7ff", "z", "é", "✈", "c"])
def test_the_range_holds_just_the_names_that_begin_with_the_prefix(prefix: str) -> None:
    end = end_of_prefix(prefix).encode()
    within = [name for name in NAMES if prefix.encode() <= name.encode() < end]
    assert within == [name for name in NAMES if name.startswith(prefix)]


def test_no_name_is_behind_the_end_of_all() -> None:
    assert end_of_prefix("") == end_of_prefix(LAST_CHARACTER) == BEHIND_ALL_NAMES
    assert (LAST_CHARACTER * 256).encode() < BEHIND_ALL_NAMES.encode()


@pytest.mark.parametrize("prefix", ["a\0b", "\ud800"], ids=ascii)
def test_a_prefix_that_no_name_has_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput, match="no object's name"):
        end_of_prefix(prefix)
