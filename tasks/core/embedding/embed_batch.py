"""Embed the contents of a batch: paced, retried one by one, each kept the moment it is answered."""

import logging
import math
from dataclasses import dataclass, field

from tasks.core.concurrency import for_each
from tasks.core.csv_parts import PartWriter, open_part
from tasks.core.embedding.circuit_breaker import stop_after_several, stop_in_an_outage
from tasks.core.embedding.embed_image import ask_patiently
from tasks.core.embedding.work_list import OVERWRITTEN, WorkItem, WorkList
from tasks.core.errors import (
    ImageGone,
    ImageOverwritten,
    ImageRefused,
    StorageError,
    TransientFailure,
    UnexplainedFailure,
)
from tasks.core.google.versions import find_overwritten, read_generation
from tasks.core.runs.run import Run
from tasks.core.types import Counts, Image, Vector

logger = logging.getLogger(__name__)

WORKERS = 256
"""Images of one batch under way at most; the limiter decides how many are in flight."""


async def embed_batch(run: Run, batch: int) -> Counts:
    """Embed the contents of a batch into its CSV part; a repeated batch pays only for the rest.

    Raises:
        SystemicFailure: an answer that every image would get, or none for long.
        ArtifactError: the part cannot be written.
        DatabaseUnavailable: Postgres cannot be reached.
        StorageError: the bucket cannot be listed, to see what was overwritten meanwhile.
    """
    with run.timed("embed_batches"):
        items = await WorkList(run, batch).begin()
        counts = run.counts[batch].begin_again()
        # Another process of the run may still do the batch, which it claimed before its session was
        # lost: what it gets is in the part, and not paid for again.
        part = await open_part(run.part(batch), run.space.dimension, math.inf)
        with part as writer:
            # What an earlier attempt had got, counted or not.
            counts.recovered = len(writer.finished)
            counts.answers = max(counts.answers, counts.recovered)
            counts.calls = max(counts.calls, counts.recovered)
            embedder = BatchEmbedder(run, batch, writer, counts)
            await embedder.embed_all(items)
            await embedder.confirm_all()
    counts.embedded = counts.images - counts.refused - counts.gone - counts.leftover
    return counts


@dataclass(slots=True)
class BatchEmbedder:
    """Embeds one batch of a run into its CSV part.

    Attributes:
        counts: what becomes of its contents, and what that takes.
        unconfirmed: images whose answer is in the part, but may be about another version.
    """

    run: Run
    batch: int
    writer: PartWriter
    counts: Counts = field(default_factory=Counts)
    unconfirmed: list[Image] = field(default_factory=list)

    async def embed_all(self, items: list[WorkItem]) -> None:
        """Embed what has no answer yet; each answer is in the part, whatever happens then.

        Raises:
            SystemicFailure: an answer that every image would get; the others were stopped.
            ArtifactError: the part cannot be written.
            DatabaseUnavailable: what became of an image could not be noted; the others were
                stopped.
        """
        finished = self.writer.finished
        self.counts.images = len(items)
        self.counts.refused = sum(item.refused for item in items)
        self.counts.gone = sum(item.gone for item in items)
        left = [
            item.image
            for item in items
            if not (item.refused or item.gone or item.image.image_id in finished)
        ]
        self.unconfirmed += [
            item.image for item in items if item.image.image_id in finished and not item.gone
        ]
        self.run.progress.by_batch[self.batch] = len(items) - len(left)
        if left:
            # Before the first call: the limiter would take the import for a slow answer.
            await self.run.clients.embedder.connect()
        await self._embed(left)

    async def confirm_all(self) -> None:
        """Ask by another object for each content whose object was overwritten or deleted meanwhile.

        A call names an object, not a version of it. Where the name still leads to the version that
        was listed, the answer is about that one; where not, it may be another's and is not loaded.

        Raises:
            SystemicFailure, ArtifactError: as embed_all.
            StorageError: the bucket cannot be listed.
        """
        if self.run.clients.pictures.reads_the_listed_version:
            return
        while self.unconfirmed:
            images = list(self.unconfirmed)
            self.unconfirmed.clear()
            storage = self.run.clients.storage
            overwritten = await find_overwritten(storage, images)
            again = []
            for image in images:
                if image.image_id in overwritten:
                    gone = await read_generation(storage, image) is None
                    other = await self._replace(image, gone=gone)
                    again += [] if other is None else [other]
            await self._embed(again)

    async def _embed(self, images: list[Image]) -> None:
        await for_each(images, self._finish, min(WORKERS, len(images)))

    async def _finish(self, image: Image) -> None:
        """Embed a content by an image, or by the next that still is what was listed."""
        progress = self.run.progress
        progress.under_way += 1
        unfinished: Image | None = image
        try:
            while unfinished is not None:
                unfinished = await self._finish_one(unfinished)
        finally:
            progress.under_way -= 1
        progress.count(self.batch)

    async def _finish_one(self, image: Image) -> Image | None:
        """Embed one image; return the one to ask by instead, where that is needed."""
        try:
            await ask_patiently(self.run, self.counts, image, self._keep)
        except ImageRefused as error:
            self.counts.refused += 1
            logger.debug("%s is refused: %s", image.uri, error)
            await self._work.refuse(image, str(error))
        except ImageGone:
            logger.debug("%s is gone since it was listed.", image.uri)
            return await self._replace(image, gone=True)
        except ImageOverwritten:
            return await self._replace(image, gone=False)
        except (TransientFailure, StorageError) as error:
            await self._leave(image, str(error))
            stop_in_an_outage(self.run, error)
        except UnexplainedFailure as error:
            await self._leave(image, str(error))
            stop_after_several(self.run, error)
        return None

    @property
    def _work(self) -> WorkList:
        return WorkList(self.run, self.batch)

    async def _leave(self, image: Image, why: str) -> None:
        self.counts.leftover += 1
        logger.debug("%s is left for the next run: %s", image.uri, why)
        await self._work.leave(image, why)

    async def _replace(self, image: Image, *, gone: bool) -> Image | None:
        """Return the object to ask for a content by instead; without any it is gone, or left."""
        other, is_gone = await self._work.replace(image, gone=gone)
        if is_gone:
            self.counts.gone += 1
        elif other is None:
            await self._leave(image, OVERWRITTEN)
        return other

    def _keep(self, image: Image, vector: Vector) -> None:
        self.counts.answers += 1
        self.run.progress.answers += 1
        self.writer.append(image.image_id, vector)
        self.unconfirmed.append(image)
