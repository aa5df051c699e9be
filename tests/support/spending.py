"""What a sync paid, answer by answer, and whether it had to.

The model server's record has every answer that left it. A vector is *known* when the next run need
not pay for it: it is in the index, or in a CSV part whose version the bucket still has. So
- a run must not pay for a content that was known when it began, nor twice for one;
- what a run paid for must be known when the next one begins.
Excused is only what was in flight at a kill, and what the bucket itself made worthless: a version
that has left it, or that was put there after the run had listed it.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.changing import ChangingBucket, Version
from tests.support.servers.record import AnsweredCall, read_record

SECONDS_TO_ANSWER = 5.0
"""How long a call may take from the model's reading of a picture to its answer."""


@dataclass(slots=True)
class Spending:
    """The account of all runs.

    Attributes:
        most_lost: answers that a kill may cost: those in flight.
        faults: what was paid without need, or lost.
        repeated: answers that were paid for a content paid for before.
        lost: answers lost at each kill of the flow or of the model server.
        superseded: answers that the bucket made worthless.
    """

    record: Path
    bucket: ChangingBucket
    most_lost: int
    faults: list[str] = field(default_factory=list)
    repeated: int = 0
    superseded: int = 0
    lost: list[int] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _known: frozenset[str] = frozenset()
    _known_at_end: frozenset[str] = frozenset()
    _began_at: float = 0.0
    _before: int = 0
    _excused: Counter[str] = field(default_factory=Counter)

    def answers(self) -> int:
        """Return the answers in the present run so far."""
        return len(read_record(self.record)) - self._before

    def summary(self) -> str:
        """Return the figures in a sentence."""
        return (
            f"Answers lost at each kill: {self.lost}; paid again: {self.repeated}; made worthless"
            f" by the bucket: {self.superseded}."
        )

    def change_space(self) -> None:
        """From now on the answers are of another space: none of them was paid for before."""
        self._seen.clear()
        self._known_at_end = frozenset()

    def begin(self, known: frozenset[str]) -> None:
        """Note what is known when a run begins."""
        # What the bucket changed since the last run was judged.
        self.superseded += len(self._known_at_end - known)
        self._known, self._began_at = known, time.time()
        self._before = len(read_record(self.record))
        self._excused.clear()

    def model_killed(self, kept: set[str]) -> None:
        """Excuse what was in flight at a kill of the model server: answered, and not kept."""
        in_flight = {
            call.content for call in self._answers_of_the_run() if not self._worthless(call)
        }
        in_flight -= kept
        self._excused.update(in_flight)
        self._count_lost(in_flight, "the model server's kill")

    def end(self, known: frozenset[str], *, completed: bool) -> None:
        """Judge a run that has ended, by what is known now."""
        self._known_at_end = known
        calls = self._answers_of_the_run()
        paid = Counter(call.content for call in calls)
        for content, times in paid.items():
            needless = times - 1 - self._excused[content] + (content in self._known)
            # Where the bucket changed under the calls, one may have answered for what came.
            if needless > self._unlisted(calls, content):
                names = sorted(
                    {call.uri or "by bytes" for call in calls if call.content == content}
                )
                was = "known already" if content in self._known else "answered before"
                self.faults.append(f"{content} of {names} was paid {times} times, and was {was}")
        self.repeated += paid.total() - len(paid.keys() - self._seen)
        self._seen |= paid.keys()
        lost = set()
        for call in calls:
            if call.content in known:
                continue
            if self._worthless(call):
                self.superseded += 1
            else:
                lost.add(call.content)
        if not completed:
            self._count_lost(lost, "its end")
        elif lost:
            self.faults.append(f"it completed, and lost the vectors of {sorted(lost)}")

    def _answers_of_the_run(self) -> list[AnsweredCall]:
        return read_record(self.record)[self._before :]

    def _count_lost(self, contents: set[str], at: str) -> None:
        self.lost.append(len(contents))
        if len(contents) > self.most_lost:
            self.faults.append(
                f"{len(contents)} answers were lost at {at}; {self.most_lost} may be in flight"
            )

    def _unlisted(self, calls: list[AnsweredCall], content: str) -> int:
        found = [call for call in calls if call.content == content]
        return sum(
            all(version.put_at > self._began_at for version in self._versions(call))
            for call in found
        )

    def _worthless(self, call: AnsweredCall) -> bool:
        """Whether the version that an answer is about has left, or came after the listing."""
        return all(
            version.left_at < float("inf") or version.put_at > self._began_at
            for version in self._versions(call)
        )

    def _versions(self, call: AnsweredCall) -> list[Version]:
        return [
            version
            for version in self.bucket.versions
            if version.content == call.content
            and version.put_at <= call.at <= version.left_at + SECONDS_TO_ANSWER
            and call.uri in {None, f"gs://{self.bucket.bucket.name}/{version.name}"}
        ]
