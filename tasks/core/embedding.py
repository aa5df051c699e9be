"""Embed the images of a batch: paced, retried one by one, each kept the moment it is finished."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.core.concurrency import for_each
from tasks.core.csvfile import PartWriter
from tasks.core.errors import (
    ImageGone,
    ImageReadDeadline,
    ImageRefused,
    QuotaExceeded,
    StorageError,
    SystemicFailure,
    TransientFailure,
    UnexplainedFailure,
)
from tasks.core.gcs import download
from tasks.core.preprocessing import Picture
from tasks.core.run import Run, Tally
from tasks.core.spaces import find_space
from tasks.core.statements import sql
from tasks.core.types import BatchReport, ImageRef, Space, Vector

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
UNEXPLAINED_IN_A_ROW = 10
"""Answers that are neither vectors nor about an image, one after another, that stop a run."""

READS_BEFORE_BYTES = 2
"""Times the model may fail to read a gs:// address in time before it is sent the bytes."""

WORKERS = 256
"""Images of one batch under way at most; the limiter decides how many are in flight."""


@dataclass(slots=True)
class Patience:
    """How long one image may still be tried; waiting for the quota does not count.

    Attributes:
        left: seconds that failed calls and the pauses after them may still take.
    """

    left: float
    attempts: int = 0
    read_deadlines: int = 0

    def backoff(self) -> float:
        """Return the seconds to wait before the next attempt: full jitter, growing (AWS's rule)."""
        longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**self.attempts)
        self.attempts += 1
        return random.uniform(0, longest)  # noqa: S311 - spreads retries, keeps no secret

    @contextmanager
    def strained(self) -> Iterator[None]:
        """Take the time of the block from what is left, where it fails."""
        start = time.monotonic()
        try:
            yield
        except TransientFailure:
            self.left -= time.monotonic() - start
            raise


@dataclass(slots=True)
class BatchEmbedder:
    """Embeds one batch of a run into its CSV part."""

    run: Run
    space: Space
    writer: PartWriter
    batch: int = 1
    tally: Tally = field(default_factory=Tally)

    async def embed_all(self, images: list[ImageRef]) -> None:
        """Embed the images; those finished are in the part whatever happens then.

        Raises:
            SystemicFailure: an answer that every image would get; the others were stopped.
            ArtifactError: the part cannot be written.
        """
        await for_each(images, self._finish, min(WORKERS, len(images)))

    async def _finish(self, image: ImageRef) -> None:
        try:
            vector = await self._embed(image)
        except ImageRefused as error:
            self.tally.refused += 1
            await self._record_refusal(image, str(error))
        except ImageGone:
            self.tally.gone += 1
            await self._record_gone(image)
        except (TransientFailure, StorageError):
            self.tally.pending += 1
        except UnexplainedFailure as error:
            self.tally.pending += 1
            self._stop_after_several(error)
        else:
            self.writer.append(image.name, vector)
        self.run.progress.count(self.batch)

    async def _embed(self, image: ImageRef) -> Vector:
        async with self.run.clients.pictures.hold(image) as picture:
            return await self._embed_patiently(image, picture)

    async def _embed_patiently(self, image: ImageRef, picture: Picture) -> Vector:
        patience = Patience(self.run.settings.image_time_budget_seconds)
        while True:
            try:
                return await self._ask(image, picture, patience)
            except QuotaExceeded as error:
                self.tally.deferrals += 1
                self.run.progress.deferrals += 1
                self._defer(error)
            except TransientFailure as error:
                patience.read_deadlines += isinstance(error, ImageReadDeadline)
                delay = patience.backoff()
                patience.left -= delay
                if patience.left < 0:
                    raise
                self.tally.retries += 1
                await asyncio.sleep(delay)

    def _stop_after_several(self, error: UnexplainedFailure) -> None:
        progress = self.run.progress
        progress.unexplained_in_a_row += 1
        if progress.unexplained_in_a_row >= UNEXPLAINED_IN_A_ROW:
            raise SystemicFailure(
                f"{UNEXPLAINED_IN_A_ROW} answers in a row were not about an image: {error} The run"
                " stopped; what was embedded is kept. Check the model, its location and the"
                " parameters."
            ) from error

    def _defer(self, error: QuotaExceeded) -> None:
        limiter = self.run.limiter
        limiter.slow_down(error.retry_after)
        budget = self.run.settings.image_time_budget_seconds
        if limiter.seconds_refused > budget:
            raise SystemicFailure(
                f"For {budget:.0f} seconds every call was over the quota: {error} Ask for a larger"
                " quota, or wait until nobody else uses it. What was embedded is kept."
            ) from error

    async def _ask(self, image: ImageRef, picture: Picture, patience: Patience) -> Vector:
        embedder = self.run.clients.embedder
        # Before the slot: the quota does not wait for the storage.
        with patience.strained():
            data = await picture.read()
        if data is None and patience.read_deadlines >= READS_BEFORE_BYTES:
            data = await download(self.run.clients.storage, image.bucket, image.name)
        async with self.run.limiter.slot():
            self.tally.calls += 1
            start = time.monotonic()
            with patience.strained():
                if data is None:
                    vector = await embedder.embed_uri(image.uri)
                else:
                    vector = await embedder.embed_bytes(data)
            self.run.limiter.succeeded(time.monotonic() - start)
        self.tally.answers += 1
        self.run.progress.unexplained_in_a_row = 0
        self.run.progress.answers += 1
        return vector

    async def _record_refusal(self, image: ImageRef, reason: str) -> None:
        async with self.run.database.connection() as connection:
            await connection.execute(
                sql("insert_refusal"),
                self.space.space_id,
                image.bucket,
                image.name,
                image.generation,
                reason,
            )

    async def _record_gone(self, image: ImageRef) -> None:
        async with self.run.database.connection() as connection:
            await connection.execute(sql("delete_gone_object"), self.run.run_id, image.name)


async def embed_batch(run: Run, batch: int) -> BatchReport:
    """Embed the images of a batch into its CSV part; a repeated batch pays only for the rest.

    Raises:
        SystemicFailure: an answer that every image would get.
        ArtifactError: the part cannot be written.
        DatabaseUnavailable: Postgres cannot be reached.
    """
    with run.timed("embed_batches"):
        await run.hold.take()
        space = await find_space(run)
        rows = await _read_batch(run, space, batch)
        with PartWriter(run.part(batch), space.dimension) as writer:
            images = [
                image
                for image, refused in rows
                if not refused and image.name not in writer.finished
            ]
            run.progress.by_batch[batch] = len(rows) - len(images)
            tally = run.tallies.setdefault(batch, Tally()).begin_again()
            await BatchEmbedder(run, space, writer, batch, tally).embed_all(images)
    refused = sum(refused for _, refused in rows) + tally.refused
    return BatchReport(
        batch=batch,
        images=len(rows),
        embedded=len(rows) - refused - tally.gone - tally.pending,
        recovered=len(writer.finished),
        refused=refused,
        gone=tally.gone,
        pending=tally.pending,
        calls=tally.calls,
        answers=tally.answers,
        retries=tally.retries,
        deferrals=tally.deferrals,
    )


async def _read_batch(run: Run, space: Space, batch: int) -> list[tuple[ImageRef, bool]]:
    bucket = run.options.bucket
    async with run.database.connection() as connection:
        rows = await connection.fetch(
            sql("select_batch"), run.run_id, batch, space.space_id, bucket
        )
    return [
        (
            ImageRef(
                bucket, row["image_id"], row["generation"], row["content_type"], row["content_hash"]
            ),
            row["refused"],
        )
        for row in rows
    ]
