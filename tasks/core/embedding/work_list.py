"""What a run is to embed, in Postgres: which batch is next, and what became of each content."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseUnavailable
from tasks.core.runs.accounting import count_open_batches, read_sent
from tasks.core.runs.outages import outlasting
from tasks.core.runs.run import Run
from tasks.core.runs.space_lock import SpaceLock
from tasks.core.types import Batch, Image

sql = statements_of(__name__)

OVERWRITTEN = "It was overwritten after it was listed."
"""Why a content is left whose objects have all changed: the only reason that no retry clears."""

SECONDS_BETWEEN_LOOKS = 2.0
"""How often a run looks whether a batch that another process has is durable, or free again."""


async def claim_batches(run: Run) -> AsyncGenerator[Batch, None]:
    """Yield the batches that this process is to do, until none is left.

    Each is this process's by a lock that dies with it, so that another process does the batch then.
    The run's own process waits for the batches of others; a further one does not.
    """
    planned = {batch.number: batch for batch in await _list_batches(run)}
    while True:
        number = await _claim(run)
        if number is not None:
            yield planned[number]
        elif isinstance(run.lock, SpaceLock) and await _others_work(run):
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        else:
            return


@outlasting
async def _list_batches(run: Run) -> tuple[Batch, ...]:
    async with run.database.connection() as connection:
        rows = await connection.fetch(sql("select_batches"), run.run_id)
    total = sum(row["images"] for row in rows)
    batches, first = [], 1
    for row in rows:
        batches.append(Batch(row["batch"], first, first + row["images"] - 1, total))
        first += row["images"]
    return tuple(batches)


@outlasting
async def _claim(run: Run) -> int | None:
    try:
        return await run.lock.claim()
    except DatabaseUnavailable:
        # Before the next attempt, the session that holds the claims must be there again.
        await run.lock.take()
        raise


@outlasting
async def _others_work(run: Run) -> bool:
    async with run.database.connection() as connection:
        return await count_open_batches(connection, run.run_id, run.lock.batches) > 0


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A content of a batch, the object to ask for it, and what an earlier attempt found out."""

    image: Image
    refused: bool
    gone: bool


@dataclass(frozen=True, slots=True)
class WorkList:
    """The contents of one batch of a run; each change is durable before the call it leads to."""

    run: Run
    batch: int

    async def begin(self) -> list[WorkItem]:
        """Return the contents, none of them left for the next run any more.

        What an earlier attempt of another process has sent is counted with what this one will.
        """
        run = self.run
        async with run.database.connection() as connection:
            await connection.execute(sql("clear_errors"), run.run_id, self.batch, OVERWRITTEN)
            rows = await connection.fetch(
                sql("select_batch"), run.run_id, self.batch, run.space.space_id
            )
            if self.batch not in run.counts:
                run.counts[self.batch] = await read_sent(connection, run.run_id, self.batch)
        return [WorkItem(self._image(row), row["refused"], row["gone"]) for row in rows]

    async def refuse(self, image: Image, reason: str) -> None:
        """Remember that the model will never accept the content of an image."""
        async with self.run.database.connection() as connection:
            await connection.execute(
                sql("insert_refusal"), self.run.space.space_id, image.content_key, reason
            )

    async def leave(self, image: Image, reason: str) -> None:
        """Leave a content for the next run."""
        async with self.run.database.connection() as connection:
            await connection.execute(
                sql("update_error"), self.run.run_id, self.batch, image.content_key, reason
            )

    async def replace(self, image: Image, *, gone: bool) -> tuple[Image | None, bool]:
        """Ask for a content by the next object that has it.

        Args:
            image: the one that it was asked by.
            gone: whether that one left the bucket: then it leaves the listing.

        Returns:
            The next one, or None where there is none; and whether no listed object has the content
            any more.
        """
        run_id, key = self.run.run_id, image.content_key
        is_gone = None
        async with self.run.database.transaction() as connection:
            row = await connection.fetchrow(
                sql("ask_by_next_object"), run_id, self.batch, key, image.image_id
            )
            if gone:
                await connection.execute(sql("delete_gone_object"), run_id, image.image_id)
                is_gone = await connection.fetchval(sql("update_gone"), run_id, self.batch, key)
        return None if row is None else self._image(row), bool(is_gone)

    def _image(self, row: Any) -> Image:
        return Image(
            self.run.options.bucket,
            row["image_id"],
            row["generation"],
            row["content_key"],
            content_type=row["content_type"],
        )
