"""Bear with a server that is away for a while: say so once, and stop when it lasts too long."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Outage:
    """The time for which a server has given no answer, if it is away.

    Attributes:
        server: what is away, as a message begins: "Prefect's server".
        longest_seconds: how long that is borne with.
        warn: told once an outage.
    """

    server: str
    longest_seconds: float
    warn: Callable[[str], object]
    since: float | None = None

    def over(self) -> None:
        """Note an answer."""
        self.since = None

    def lasts(self, error: Exception) -> bool:
        """Note that there was no answer, and return whether that is so for too long."""
        now = time.monotonic()
        if self.since is None:
            self.since = now
            self.warn(
                f"{self.server} does not answer ({type(error).__name__}: {error}); the run goes on"
                f" without it, for {self.longest_seconds / 60:.0f} minutes at most."
            )
        return now - self.since > self.longest_seconds
