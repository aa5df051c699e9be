"""How far a run has come, and how fast it goes now."""

from collections import deque
from dataclasses import dataclass, field

from tasks.core.types import Counts

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class Pace:
    """The growth of a count within a window, which begins when the count leaves zero."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, seconds: float, count: int) -> None:
        """Note the count at a time in seconds; both only grow."""
        if count == 0:
            self.samples.clear()
        self.samples.append((seconds, count))
        while len(self.samples) > 1 and self.samples[1][0] <= seconds - WINDOW_SECONDS:
            self.samples.popleft()

    @property
    def per_second(self) -> float:
        """The growth a second; 0 where it is not known yet."""
        if not self.samples:
            return 0.0
        (begin, before), (end, after) = self.samples[0], self.samples[-1]
        return (after - before) / max(end - begin, 1e-9)


@dataclass(slots=True)
class Progress:
    """Counts that grow while a run embeds; for showing, not for keeping.

    Attributes:
        total: contents to embed, by all processes of the run.
        by_batch: of these, finished by this process; a batch's number leads to them.
        answers: vectors that the model returned to this process; `deferrals`: 429s.
        others: what other processes of the run have done, as last counted.
        under_way: contents that this process has begun with and not finished.
    """

    total: int = 0
    by_batch: dict[int, int] = field(default_factory=dict)
    answers: int = 0
    deferrals: int = 0
    others: Counts = field(default_factory=Counts)
    under_way: int = 0
    unexplained_in_a_row: int = 0
    given_up_in_a_row: int = 0
    pace: Pace = field(default_factory=Pace)

    def count(self, batch: int) -> None:
        """Count one image of a batch as finished."""
        self.by_batch[batch] = self.by_batch.get(batch, 0) + 1

    @property
    def done(self) -> int:
        """Contents that need nothing more in this run."""
        finished = sum(self.by_batch.values()) + self.others.images
        return min(finished, self.total or finished)

    @property
    def has_more(self) -> bool:
        """Whether there are contents that nobody has begun with, as far as is known."""
        return not self.total or self.total > self.done + self.under_way

    @property
    def percent(self) -> float:
        """How much of the work is done."""
        return 100.0 * self.done / self.total if self.total else 100.0
