"""The statements of sql/, with what cannot be bound quoted into their {places}."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from tasks.core.errors import InvalidIndexName

PLACE = re.compile(r"\{(\w+)\}")

LONGEST_NAME = 63
"""Bytes of an identifier (NAMEDATALEN - 1); Postgres cuts longer ones silently."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name to be quoted into a statement, with its schema where it has one."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        parts = (self.name,) if self.schema is None else (self.schema, self.name)
        return ".".join(quote_identifier(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A text to be quoted into a statement that takes no bound values (CREATE VIEW)."""

    text: str

    def __str__(self) -> str:
        return "'" + self.text.replace("'", "''") + "'"


def quote_identifier(name: str) -> str:
    """Return a name as a quoted Postgres identifier.

    Raises:
        InvalidIndexName: the name is empty, over 63 bytes, or holds a NUL.
    """
    if not name or "\0" in name or len(name.encode(errors="replace")) > LONGEST_NAME:
        raise InvalidIndexName(
            f"{name[:80]!r} cannot be a Postgres name: expected 1 to {LONGEST_NAME} bytes and no"
            " NUL. Choose a shorter name, such as image_embeddings."
        )
    return '"' + name.replace('"', '""') + '"'


@cache
def _read_statement(name: str) -> str:
    return resources.files("tasks.core.sql").joinpath(f"{name}.sql").read_text("utf-8")


def sql(name: str, /, **parts: Identifier | Literal | int) -> str:
    """Return the statement of sql/`name`.sql, its {places} filled with quoted parts."""
    return PLACE.sub(lambda place: str(parts[place[1]]), _read_statement(name))
