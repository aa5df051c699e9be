"""Embed the images of a batch: paced, retried one by one, each kept the moment it is finished."""

import logging
from dataclasses import dataclass, field

from tasks.core.concurrency import for_each
from tasks.core.csv_parts import PartWriter, open_part
from tasks.core.embedding.circuit_breaker import stop_after_several, stop_in_an_outage
from tasks.core.embedding.embed_image import ask_patiently
from tasks.core.embedding.work_list import WorkItem, WorkList
from tasks.core.errors import (
    ImageGone,
    ImageOverwritten,
    ImageRefused,
    StorageError,
    TransientFailure,
    UnexplainedFailure,
)
from tasks.core.google.versions import find_overwritten
from tasks.core.runs.accounting import Tally
from tasks.core.runs.run import Run
from tasks.core.runs.space import find_space
from tasks.core.types import BatchReport, ImageRef, Space, Vector

logger = logging.getLogger(__name__)

WORKERS = 256
"""Images of one batch under way at most; the limiter decides how many are in flight."""


@dataclass(slots=True)
class BatchEmbedder:
    """Embeds one batch of a run into its CSV part.

    Attributes:
        twins: images that came into the batch in the place of others of the same content.
        unconfirmed: images whose vector is in the part, but may be another version's.
    """

    run: Run
    space: Space
    writer: PartWriter
    batch: int = 1
    tally: Tally = field(default_factory=Tally)
    twins: int = 0
    unconfirmed: list[ImageRef] = field(default_factory=list)

    async def embed_all(self, images: list[ImageRef]) -> None:
        """Embed the images; each that was answered is in the part, whatever happens then.

        Raises:
            SystemicFailure: an answer that every image would get; the others were stopped.
            ArtifactError: the part cannot be written.
            DatabaseUnavailable: what became of an image could not be noted; the others were
                stopped.
        """
        await for_each(images, self._finish, min(WORKERS, len(images)))

    async def confirm_all(self) -> None:
        """Keep the vectors of versions that were overwritten meanwhile from others of that content.

        They stay, under the version that was listed, so that the next run asks for the new one.

        Raises:
            SystemicFailure, ArtifactError: as embed_all, for the twins that take their place.
            StorageError: the bucket cannot be listed.
        """
        while self.unconfirmed:
            images = [image for image in self.unconfirmed if image.can_share]
            self.unconfirmed.clear()
            overwritten = await find_overwritten(self.run.clients.storage, images)
            twins = [await self._replace(image) for image in images if image.name in overwritten]
            await self.embed_all([twin for twin in twins if twin is not None])

    async def _finish(self, image: ImageRef) -> None:
        """Embed an image, or the first of its twins that still is what was listed."""
        progress = self.run.progress
        progress.under_way += 1
        unfinished: ImageRef | None = image
        try:
            while unfinished is not None:
                unfinished = await self._finish_one(unfinished)
        finally:
            progress.under_way -= 1
        progress.count(self.batch)

    async def _finish_one(self, image: ImageRef) -> ImageRef | None:
        """Embed one image; return the twin to embed in its place, where it needs one."""
        try:
            await ask_patiently(self.run, self.tally, image, self._keep)
        except ImageRefused as error:
            self.tally.refused += 1
            logger.debug("%s is refused: %s", image.uri, error)
            await self._work.refuse(image, str(error))
        except ImageGone:
            self.tally.gone += 1
            logger.debug("%s is gone since it was listed.", image.uri)
            return await self._replace(image, gone=True)
        except ImageOverwritten as error:
            await self._leave(image, error)
            return await self._replace(image)
        except (TransientFailure, StorageError) as error:
            await self._leave(image, error)
            stop_in_an_outage(self.run, error)
        except UnexplainedFailure as error:
            await self._leave(image, error)
            stop_after_several(self.run, error)
        return None

    @property
    def _work(self) -> WorkList:
        return WorkList(self.run, self.space, self.batch)

    async def _leave(self, image: ImageRef, error: Exception) -> None:
        self.tally.pending += 1
        logger.debug("%s is left for the next run: %s", image.uri, error)
        await self._work.leave(image, str(error))

    async def _replace(self, image: ImageRef, *, gone: bool = False) -> ImageRef | None:
        twin = await self._work.replace(image, gone=gone)
        self.twins += twin is not None
        return twin

    def _keep(self, image: ImageRef, vector: Vector) -> None:
        self.tally.answers += 1
        self.run.progress.answers += 1
        self.writer.append(image.name, vector)
        if not self.run.clients.pictures.reads_the_listed_version:
            self.unconfirmed.append(image)


async def embed_batch(run: Run, batch: int) -> BatchReport:
    """Embed the images of a batch into its CSV part; a repeated batch pays only for the rest.

    Raises:
        SystemicFailure: an answer that every image would get, or none for long.
        ArtifactError: the part cannot be written.
        DatabaseUnavailable: Postgres cannot be reached.
        StorageError: the bucket cannot be listed, to see what was overwritten meanwhile.
    """
    with run.timed("embed_batches"):
        await run.hold.take()
        space = await find_space(run)
        items = await WorkList(run, space, batch).begin()
        with await open_part(run.part(batch), space.dimension) as writer:
            finished = writer.finished
            tally = run.tallies.setdefault(batch, Tally.of_rows(len(finished))).begin_again()
            embedder = BatchEmbedder(run, space, writer, batch, tally)
            if not run.clients.pictures.reads_the_listed_version:
                embedder.unconfirmed += [
                    item.image for item in items if item.image.name in finished
                ]
            left = [item.image for item in items if _is_open(item, finished)]
            run.progress.by_batch[batch] = len(items) - len(left)
            if left:
                # Before the first call: the limiter would take the import for a slow answer.
                await run.clients.embedder.connect()
            await embedder.embed_all(left)
            await embedder.confirm_all()
    return _report(embedder, items)


def _is_open(item: WorkItem, finished: frozenset[str]) -> bool:
    return not (item.refused or item.gone or item.image.name in finished)


def _report(embedder: BatchEmbedder, items: list[WorkItem]) -> BatchReport:
    tally, images = embedder.tally, len(items) + embedder.twins
    refused = sum(item.refused for item in items) + tally.refused
    gone = sum(item.gone for item in items) + tally.gone
    return BatchReport(
        batch=embedder.batch,
        images=images,
        embedded=images - refused - gone - tally.pending,
        recovered=len(embedder.writer.finished),
        refused=refused,
        gone=gone,
        pending=tally.pending,
        calls=tally.calls,
        answers=tally.answers,
        retries=tally.retries,
        deferrals=tally.deferrals,
    )
