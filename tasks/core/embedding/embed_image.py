"""Ask the model for one image's vector: paced, again where that can help, each answer kept."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tasks.core.embedding.circuit_breaker import slow_down
from tasks.core.errors import (
    BirdwalkError,
    ImageGone,
    ImageOverwritten,
    ImageReadDeadline,
    ImageRefused,
    QuotaExceeded,
    TransientFailure,
)
from tasks.core.google.storage import download
from tasks.core.google.versions import read_generation
from tasks.core.pictures.preparing import Picture
from tasks.core.runs.run import Run
from tasks.core.types import Counts, Image, Vector

logger = logging.getLogger(__name__)

READS_BEFORE_BYTES = 2
"""Times the model may fail to read a gs:// address in time before it is sent the bytes."""

SECONDS_TO_END_CALLS = 5.0
"""How long the calls in flight may go on in a batch that is stopped: they are paid for."""

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0

Keep: TypeAlias = Callable[[Image, Vector], None]
"""What an image's vector is given to, the moment it is there."""


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


async def ask_patiently(run: Run, counts: Counts, image: Image, keep: Keep) -> None:
    """Ask for an image's vector until there is an answer, or the image's time is used up.

    Args:
        run: an open one.
        counts: of the batch: what is sent is added.
        image: as it was listed.
        keep: called with the vector; also where the task is cancelled while a call is in flight.

    Raises:
        ImageRefused, ImageGone: the answer, confirmed to be about the version that was listed.
        ImageOverwritten: it would be about another version.
        TransientFailure, StorageError: there was none in time.
        UnexplainedFailure, SystemicFailure: an answer that asking again does not change.
    """
    async with run.clients.pictures.hold(image) as picture:
        await _Question(run, counts, image, picture, keep).ask_patiently()


@dataclass(slots=True)
class _Question:
    run: Run
    counts: Counts
    image: Image
    picture: Picture
    keep: Keep
    patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self.patience = Patience(self.run.settings.image_time_budget_seconds)

    async def ask_patiently(self) -> None:
        while True:
            try:
                return await self._ask_and_confirm()
            except QuotaExceeded as error:
                self.counts.deferrals += 1
                self.run.progress.deferrals += 1
                logger.debug("%s has to wait for the quota: %s", self.image.uri, error)
                slow_down(self.run, error)
            except TransientFailure as error:
                self.patience.read_deadlines += isinstance(error, ImageReadDeadline)
                delay = self.patience.backoff()
                self.patience.left -= delay
                if self.patience.left < 0:
                    raise
                self.counts.retries += 1
                logger.debug("%s is asked again in %.1f s: %s", self.image.uri, delay, error)
                await asyncio.sleep(delay)

    async def _ask_and_confirm(self) -> None:
        try:
            await self._ask()
        except (ImageRefused, ImageGone) as error:
            await self._confirm(error)
            raise

    async def _confirm(self, answer: ImageRefused | ImageGone) -> None:
        """Let an answer stand that is about the version that was listed.

        What another version is refused for says nothing of the content that was listed; and an
        image is not gone that has a new version, or that is there.
        """
        clients, image = self.run.clients, self.image
        if isinstance(answer, ImageRefused) and clients.pictures.reads_the_listed_version:
            return
        generation = await read_generation(clients.storage, image)
        if generation is None:
            raise ImageGone(f"{image.uri} is not there any more.")
        if generation != image.generation:
            raise ImageOverwritten("It was overwritten after it was listed.")
        if isinstance(answer, ImageGone):
            raise TransientFailure(f"The model did not find it, though it is there: {answer}")

    async def _ask(self) -> None:
        embedder, image = self.run.clients.embedder, self.image
        # Before the slot: the quota does not wait for the storage.
        with self.patience.strained():
            data = await self.picture.read()
        if data is None and self.patience.read_deadlines >= READS_BEFORE_BYTES:
            data = await download(self.run.clients.storage, image.bucket, image.image_id)
        async with self.run.limiter.slot():
            self.counts.calls += 1
            call = embedder.embed_uri(image.uri) if data is None else embedder.embed_bytes(data)
            with self._heard(), self.patience.strained():
                await self._finish_call(call)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Note that the model answers, if it does: a refusal is an answer, and within the quota."""
        start, answered = time.monotonic(), False
        try:
            yield
            answered = True
        except (ImageRefused, ImageGone):
            answered = True
            raise
        finally:
            if answered:
                self.run.limiter.answered(time.monotonic() - start)
                progress = self.run.progress
                progress.unexplained_in_a_row = progress.given_up_in_a_row = 0

    async def _finish_call(self, call: Coroutine[Any, Any, Vector]) -> None:
        """Keep a call's answer, which is paid for, even where the batch is stopped meanwhile."""
        answer = asyncio.ensure_future(call)
        try:
            vector = await asyncio.shield(answer)
        except asyncio.CancelledError:
            # Why the batch stopped is known already, and what has no vector is asked for again.
            with suppress(BirdwalkError, TimeoutError):
                async with asyncio.timeout(SECONDS_TO_END_CALLS):
                    vector = await answer
                self.keep(self.image, vector)
            raise
        self.keep(self.image, vector)
