"""The statements of the .sql files, with what cannot be bound quoted into their {places}.

A file lies beside the module that asks its statements, and has its name. Each statement stands
under `-- name: ...` and a comment.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from tasks.core.errors import InvalidIndexName

PLACE = re.compile(r"\{(\w+)\}")
NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

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


class Statements:
    """The statements of one file of SQL; called with a name, it gives that statement."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._texts: dict[str, str] = {}
        before, *blocks = NAME.split(text)
        if before.strip():
            raise ValueError(f"{file} begins with something else than `-- name: ...`.")
        for name, block in zip(blocks[::2], blocks[1::2], strict=True):
            if name in self._texts:
                raise ValueError(f"{file} has two statements called {name}.")
            self._texts[name] = block.strip() + "\n"

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __call__(self, name: str, /, **parts: Identifier | Literal | int) -> str:
        """Return the statement of that name, its {places} filled with quoted parts."""
        return PLACE.sub(lambda place: str(parts[place[1]]), self.read(name))

    def read(self, name: str) -> str:
        """Return the statement of that name as it is written, with its comment and its {places}.

        Raises:
            ValueError: the file has no such statement.
        """
        if name not in self._texts:
            raise ValueError(f"{self._file} has no statement called {name}.")
        return self._texts[name]


@cache
def statements_of(module_name: str) -> Statements:
    """Return the statements of the .sql file that has a module's name, and lies where it does.

    Raises:
        ValueError: two of its statements have one name.
    """
    package, _, module = module_name.rpartition(".")
    file = f"{module}.sql"
    return Statements(file, resources.files(package).joinpath(file).read_text("utf-8"))


def affected_rows(status: str) -> int:
    """Return the row count of a command tag, such as "DELETE 3" or "INSERT 0 3"."""
    return int(status.rsplit(" ", 1)[1])
