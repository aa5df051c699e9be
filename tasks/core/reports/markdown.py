"""Put names from a bucket into markdown, so that no name can break the page."""

import re
from collections.abc import Iterable

from tasks.core.text import printable

PLAIN = re.compile(r"[A-Za-z0-9/.\- ]+(?:_[A-Za-z0-9/.\-]+)*")
"""Names that mean nothing in markdown."""


def code(name: str) -> str:
    """Return a name as inline code that cannot end its table cell, or its line."""
    # Before a pipe a backslash of the name would escape ours.
    shown = re.sub(r"\\(?=\\*\|)", "?", _code(name))
    return shown.replace("|", "\\|")


def codes(names: Iterable[str]) -> str:
    """Return several names, as in a sentence; not for a table."""
    return ", ".join(map(_code, names))


def _code(name: str) -> str:
    return "`" + printable(name).replace("`", "'") + "`"


def label(name: str) -> str:
    """Return a name as the text of a link: Prefect's older interface shows code's marks there."""
    return name if PLAIN.fullmatch(name) else code(name)


def prose(text: str) -> str:
    """Return a sentence of somebody else's, on one line and without a meaning in markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", printable(text, " "))


def yes(held: bool) -> str:  # noqa: FBT001 - the word for a boolean
    """Return whether something held, as a table shows it."""
    return "yes" if held else "**NO**"
