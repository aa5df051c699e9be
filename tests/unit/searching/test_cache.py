"""What is kept is bounded by weight, and what was not asked for longest goes first."""

from tasks.core.searching.cache import BoundedCache


def test_the_value_that_was_not_asked_for_longest_makes_room() -> None:
    cache = BoundedCache[str, str](10)
    cache.put("one", "1", 4)
    cache.put("two", "2", 4)
    assert cache.get("one") == "1"
    cache.put("three", "3", 4)
    assert cache.get("two") is None
    assert (cache.get("one"), cache.get("three"), cache.weight) == ("1", "3", 8)


def test_a_value_put_again_replaces_the_former_one_and_its_weight() -> None:
    cache = BoundedCache[str, str](10)
    cache.put("one", "1", 9)
    cache.put("one", "2", 3)
    assert (cache.get("one"), cache.weight, len(cache)) == ("2", 3, 1)


def test_a_value_heavier_than_everything_allowed_is_not_kept_and_drives_nothing_out() -> None:
    cache = BoundedCache[str, str](10)
    cache.put("one", "1", 5)
    cache.put("two", "2", 11)
    assert (cache.get("one"), cache.get("two")) == ("1", None)


def test_a_cache_for_nothing_keeps_nothing() -> None:
    cache = BoundedCache[str, str](0)
    cache.put("one", "1")
    assert (cache.get("one"), len(cache), cache.weight) == (None, 0, 0)
