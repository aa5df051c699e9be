"""A batch whose model follows a script, with no server behind it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from tasks.core.csv_parts import read_part
from tasks.core.database.statements import statements_of
from tasks.core.embedding.embed_batch import BatchEmbedder
from tasks.core.embedding.work_list import WorkItem
from tasks.core.spaces.registry import Space
from tasks.core.types import Image, Vector

SPACE = Space(1, 1, "photos", "multimodalembedding@001", 2, "none", "loading")
work_list_sql = statements_of("tasks.core.embedding.work_list")
NAMES = {work_list_sql(name): name for name in work_list_sql}
"""The statements by their texts."""

LISTED = 17
"""The generation of every object when it was listed."""

VECTOR: Vector = np.array([0.6, 0.8], dtype=np.float32)


class Model:
    """Answers each image by its script: errors in turn, then a vector."""

    def __init__(self, script: dict[str, list[Exception]]) -> None:
        self.script = {name: iter(errors) for name, errors in script.items()}
        self.asked: list[str] = []
        self.sent: list[bytes] = []

    async def connect(self) -> None:
        """Be there."""

    async def embed_uri(self, uri: str) -> Vector:
        name = uri.rpartition("/")[2]
        self.asked.append(name)
        return self._answer(name)

    async def embed_bytes(self, data: bytes) -> Vector:
        self.sent.append(data)
        return VECTOR

    def _answer(self, name: str) -> Vector:
        error = next(self.script.get(name, cast("Iterator[Exception]", iter(()))), None)
        if error is not None:
            raise error
        return VECTOR


class Ledger:
    """Remembers the statements it is given, as a database would; no content has another object."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, tuple[Any, ...]]] = []

    async def execute(self, statement: str, *values: Any) -> None:
        self.statements.append((NAMES[statement], values))

    async def fetchrow(self, statement: str, *values: Any) -> None:
        await self.execute(statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> bool:
        await self.execute(statement, *values)
        return True

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Ledger"]:
        yield self

    transaction = connection


class Storage:
    """A bucket whose objects are as they were listed, but for generations that it is given."""

    def __init__(self, **generations: int | None) -> None:
        self.generations = generations

    def bucket(self, _: str) -> "Storage":
        return self

    def get_blob(self, name: str) -> Any:
        generation = self.generations.get(name, LISTED)
        return None if generation is None else SimpleNamespace(generation=generation)


Start = Callable[..., tuple[BatchEmbedder, Model, Ledger]]


def items(*names: str) -> list[WorkItem]:
    """Return contents of a batch, each called in capitals what its object is called."""
    return [WorkItem(Image("b", name, LISTED, name.upper()), False, False) for name in names]


def kept(batch: BatchEmbedder) -> set[str]:
    return set(read_part(batch.run.part(1), 2))
