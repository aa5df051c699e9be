import pytest

from tasks.core.reports.markdown import code, codes, label, prose


def test_a_pipe_is_escaped_inside_a_table_only() -> None:
    assert code("a|b`.png") == r"`a\|b'.png`"
    assert codes(["a|b`.png", "c.png"]) == "`a|b'.png`, `c.png`"


@pytest.mark.parametrize("name", ["planes/airplane.png", "a b_c-2.jpg", "0001.png"])
def test_a_plain_name_is_a_links_text_as_it_is(name: str) -> None:
    assert label(name) == name


@pytest.mark.parametrize("name", ["a|b", "a]b", "*a*", "_a_", "a __b__", "<b>", "é", "`a`", ""])
def test_a_name_that_could_mean_something_is_code(name: str) -> None:
    assert label(name) == code(name)


def test_prose_has_no_meaning_in_markdown_and_one_line() -> None:
    assert prose("a_b *c* [d](e)\n# f | <g>") == r"a\_b \*c\* \[d\](e) \# f \| \<g\>"
    assert prose("Truncated File Read. 44 of 47 (6.4%)!") == "Truncated File Read. 44 of 47 (6.4%)!"
