"""How fast a count grows now: over the last minute, not since the beginning."""

from collections import deque
from dataclasses import dataclass, field

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
