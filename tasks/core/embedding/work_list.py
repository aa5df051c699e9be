"""A batch's work list in Postgres: what it is to embed, and what became of each image of it."""

from dataclasses import dataclass
from typing import Any

from tasks.core.database.statements import statements_of
from tasks.core.runs.run import Run
from tasks.core.types import ImageRef, Space

sql = statements_of(__name__)
batches_sql = statements_of("tasks.core.runs.batches")


@dataclass(frozen=True, slots=True)
class WorkItem:
    """An image of a batch, and what an earlier attempt of the batch found out about it."""

    image: ImageRef
    refused: bool
    gone: bool


@dataclass(frozen=True, slots=True)
class WorkList:
    """The images of one batch of a run; each change is durable before the call it leads to."""

    run: Run
    space: Space
    batch: int

    async def begin(self) -> list[WorkItem]:
        """Return the images, none of them left for the next run any more."""
        run = self.run
        async with run.database.connection() as connection:
            await connection.execute(sql("clear_errors"), run.run_id, self.batch)
            rows = await connection.fetch(
                batches_sql("select_batch"),
                run.run_id,
                self.batch,
                self.space.space_id,
                run.options.bucket,
            )
        return [WorkItem(self._image(row), row["refused"], row["gone"]) for row in rows]

    async def refuse(self, image: ImageRef, reason: str) -> None:
        """Remember that the model will never accept this version of an image."""
        async with self.run.database.connection() as connection:
            await connection.execute(
                sql("insert_refusal"),
                self.space.space_id,
                image.bucket,
                image.name,
                image.generation,
                reason,
            )

    async def leave(self, image: ImageRef, reason: str) -> None:
        """Leave an image for the next run."""
        async with self.run.database.connection() as connection:
            await connection.execute(
                sql("update_error"), self.run.run_id, self.batch, image.name, reason
            )

    async def replace(self, image: ImageRef, *, gone: bool = False) -> ImageRef | None:
        """Take the content from an image that is not sure to give it a vector, for its next twin.

        One image of a content is in a batch at any time, so that each content is paid for once.

        Args:
            image: of this batch; a vector that it has will be given to no other.
            gone: whether it left the bucket.

        Returns:
            The twin, now of this batch, or None where no other image has the content.
        """
        run_id, row = self.run.run_id, None
        async with self.run.database.transaction() as connection:
            if gone:
                await connection.execute(sql("delete_gone_object"), run_id, image.name)
            if image.can_share:
                await connection.execute(sql("release_content"), run_id, self.batch, image.name)
                row = await connection.fetchrow(
                    sql("promote_twin"), run_id, self.batch, image.content_hash
                )
        return None if row is None else self._image(row)

    def _image(self, row: Any) -> ImageRef:
        return ImageRef(
            self.run.options.bucket,
            row["image_id"],
            row["generation"],
            row["content_type"],
            row["content_hash"],
        )
