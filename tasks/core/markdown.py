"""Put names from a bucket into markdown, so that no name can break the page."""

import re
from collections.abc import Iterable


def code(name: str) -> str:
    """Return a name as inline code that cannot end its table cell, or its line."""
    shown = "".join(character if character.isprintable() else "?" for character in name)
    # Before a pipe a backslash of the name would escape ours.
    shown = re.sub(r"\\(?=\\*\|)", "?", shown)
    return "`" + shown.replace("`", "'").replace("|", "\\|") + "`"


def codes(names: Iterable[str]) -> str:
    """Return several names, as in a sentence."""
    return ", ".join(code(name) for name in names)
