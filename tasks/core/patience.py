"""How long an image is tried, and how long to wait before it is tried again."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.core.errors import TransientFailure

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0


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
