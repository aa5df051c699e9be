"""Kill a sync and its servers again and again, while its bucket changes."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tasks.core.database.connections import open_database
from tests.support.assessing import Model, Sight, compare, compare_csv, look, parts_of
from tests.support.changing import ChangingBucket
from tests.support.databases import fetch, fetchval, postgres_began_anew, postgres_began_at
from tests.support.driver import Driver
from tests.support.killable import LATENCY_SECONDS, Servers, kill_all
from tests.support.servers.record import read_record
from tests.support.spending import Spending
from tests.support.waiting import until

REQUESTS_PER_MINUTE = 2400
DIMENSION = 128
MOST_LOST = round(2 * REQUESTS_PER_MINUTE / 60 * LATENCY_SECONDS) + 4
"""What the limiter lets be in flight: twice pace x latency, and four."""

PATIENCE_SECONDS = 240.0
MOST_RUNS_TO_QUIET = 4


PAID = """
SELECT extract(epoch FROM started_at)::float, round(price_usd / 0.0001)::integer FROM birdwalk.runs
"""
SHOWN_AND_NOT_COMPLETED = """
SELECT count(*) FROM birdwalk.runs WHERE published_at IS NOT NULL AND verdict <> 'completed'
"""

Start = Callable[[Mapping[str, object], Mapping[str, str], Path], Driver]


def last_words(log: Path) -> str:
    """Return what a program said last: Prefect may add a line of its own to an error of ours."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-4:])


@dataclass(slots=True)
class Account:
    """When a run began, what the model had answered by then, and what may be in flight at kills."""

    began_at: float
    before: int
    in_flight: int


@dataclass(slots=True)
class Attack:
    """A bucket that changes, a sync that is killed, and what that did.

    Attributes:
        start: starts the flow with parameters and variables, its output in a file.
        environment: variables of the flow beside its settings.
        model: a model server that nobody kills, to compare with.
        log: what befell when; to be shown where a test fails.
        faults: what went wrong.
        kills: how often each was killed.
    """

    servers: Servers
    bucket: ChangingBucket
    start: Start
    environment: Mapping[str, str]
    model: Model
    spending: Spending
    random: random.Random
    batch_size: int
    log: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    _flow: Driver | None = None
    _started_at: float = 0.0
    _began_at: dict[Path, float] = field(default_factory=dict)
    _accounts: list[Account] = field(default_factory=list)
    _unjudged: bool = False
    _completed: bool = False

    async def open(self, images: int) -> None:
        """Fill the bucket, and make the tables that any run would make first."""
        await asyncio.to_thread(self.bucket.fill, images)
        async with open_database(self.servers.settings):
            pass

    async def close(self) -> None:
        """End the sync where it still runs."""
        if self._flow is not None:
            await self._kill_flow()

    async def change_dimension(self, dimension: int) -> None:
        """Let the next runs fill another space, which owes nothing to the first."""
        await self.see()
        self.model = Model(self.model.settings, self.bucket, dimension)
        self.spending.change_space()

    def story(self) -> str:
        """Return what was done, and what it cost, to be read where it did harm."""
        kills = f"{self.runs} runs, killed: {dict(self.kills)}; logs: {self._flow_log.parent}"
        return "\n".join([*self.log, self.spending.summary(), kills, *self.faults])

    # The sync

    async def begin(self) -> None:
        """Judge the run before, and start the next."""
        self.spending.begin((await self.see()).known)
        self.runs += 1
        self._started_at = time.time()
        self._unjudged = True
        self._accounts.append(Account(self._started_at, len(read_record(self.servers.record)), 0))
        self._flow = self.start(self._parameters(), self._variables(), self._flow_log)

    async def try_second_run(self) -> None:
        """See that a second run ends at once, and names the first, which goes on."""
        log = self._flow_log.with_suffix(".second.log")
        second = self.start(self._parameters(), self._variables(), log)

        async def ended() -> bool:
            return second.poll() is not None

        await until(ended, PATIENCE_SECONDS)
        said = last_words(log)
        if second.poll() != 1 or "SpaceBusy" not in said:
            self.faults.append(f"a second run beside run {self.runs} was not sent away: {said}")

    @property
    def _flow_log(self) -> Path:
        return self.servers.record.with_name(f"flow-{self.runs:03d}.log")

    def _parameters(self) -> dict[str, object]:
        return {
            "bucket": self.bucket.bucket.name,
            "dimension": self.model.dimension,
            "requests_per_minute": REQUESTS_PER_MINUTE,
            "batch_size": self.batch_size,
            "max_deletions": 1.0,
            "max_refusals": 1.0,
        }

    def _variables(self) -> dict[str, str]:
        settings = self.servers.settings.model_dump(exclude_none=True)
        settings["database_url"] = self.servers.database_url
        ours = {f"BIRDWALK_{name.upper()}": str(value) for name, value in settings.items()}
        return {**self.environment, **ours}

    @property
    def killable(self) -> tuple[str, ...]:
        """The names of what can be killed."""
        return ("flow", *self.servers.names)

    def csv_is_written(self) -> bool:
        """Tell whether the present run has come past its CSV."""
        runs = self.servers.settings.data_directory.glob("runs/0*")
        return any((run / "embeddings.csv").exists() for run in runs if run not in self._began_at)

    async def see(self) -> Sight:
        """See what the index and the parts hold, and judge the last run by it."""
        await self.model.ask()
        sight = await look(self.servers.database_url, self.model, self.parts())
        self.faults += [f"after run {self.runs}: {fault}" for fault in sight.faults]
        if self._unjudged:
            before = len(self.spending.faults)
            self.spending.end(sight.known, completed=self._completed)
            self.faults += [f"run {self.runs}: {new}" for new in self.spending.faults[before:]]
            self._unjudged = False
        return sight

    def parts(self) -> set[str]:
        """Return the contents in leftover parts whose version the bucket still has."""
        for run in self.servers.settings.data_directory.glob("runs/0*"):
            self._began_at.setdefault(run, self._started_at)
        return parts_of(self._began_at, self.model)

    async def ended(self) -> bool:
        """Tell whether no run is under way; look at how the last one ended."""
        if self._flow is None:
            return True
        status = self._flow.poll()
        if status is None:
            return False
        self._flow, self._completed = None, status == 0
        if self._completed:
            await self._check_csv()
            return True
        said = last_words(self._flow_log)
        # Its database, or the model, may have been killed: a run bears with that.
        self.faults.append(f"run {self.runs} ended with {status}, though nobody killed it: {said}")
        return True

    async def _check_csv(self) -> None:
        run = max(self.servers.settings.data_directory.glob("runs/0*"), default=None)
        # A run that embedded nothing has no directory, or one without a file.
        if run is not None and run not in self._began_at and (run / "embeddings.csv").exists():
            url = self.servers.database_url
            found = await compare_csv(url, run / "embeddings.csv", self.model.dimension)
            self.faults += [f"run {self.runs}: {fault}" for fault in found]

    async def finish(self) -> None:
        """Let the sync run until there is nothing more to do, and compare the index."""
        await until(self.ended, PATIENCE_SECONDS)
        for _ in range(MOST_RUNS_TO_QUIET):
            await self.begin()
            await until(self.ended, PATIENCE_SECONDS)
            if self._completed and not self.spending.answers():
                break
        else:
            self.faults.append(f"{MOST_RUNS_TO_QUIET} runs after the last change, not all is done")
        await self.see()
        url = self.servers.database_url
        self.faults += await compare(url, self.model)
        if await fetchval(url, "SELECT count(*) FROM birdwalk.runs WHERE verdict = 'running'"):
            self.faults.append("a run that is over is still called running")
        if await fetchval(url, SHOWN_AND_NOT_COMPLETED):
            self.faults.append("a run that readers see the work of has not completed")
        await self._check_prices()
        left = list(self.servers.settings.data_directory.glob("runs/*/parts/*.csv"))
        self.faults += [f"{path} is left over" for path in left]

    async def _check_prices(self) -> None:
        """Compare what each run says that it paid with what the model answered in its time."""
        rows = await fetch(self.servers.database_url, PAID)
        answers = len(read_record(self.servers.record))
        end = Account(float("inf"), answers, 0)
        for number, (one, after) in enumerate(pairwise([*self._accounts, end]), 1):
            paid = sum(price for at, price in rows if one.began_at <= at < after.began_at)
            answered = after.before - one.before
            if not answered - one.in_flight <= paid <= answered:
                self.faults.append(f"run {number} says that it paid {paid} of {answered} answers")

    # The kills

    async def kill(self, targets: Collection[str], backend: int | None = None) -> None:
        """Kill the flow and servers at once, by their names; and one backend of Postgres."""
        names = [name for name in targets if name in self.servers.running]
        doomed = await self.servers.processes(names)
        if backend is not None:
            doomed.append(backend)
        kept, url = self.parts(), self.servers.database_url
        dies = backend is not None or "postgres" in targets
        before = await postgres_began_at(url) if dies else None
        if "flow" in targets:
            self._flow_process.kill()
        kill_all(doomed)
        self.kills.update([*targets, *(["backend"] if backend is not None else [])])
        if {"flow", "vertex"} & set(targets):
            self._accounts[-1].in_flight += self.spending.most_lost
        if "flow" in targets:
            await self._kill_flow()
        elif "vertex" in targets:
            self.spending.model_killed(kept)
        await asyncio.sleep(self.random.uniform(0.0, 0.5))
        await self.servers.restart(names)
        if dies:
            await until(lambda: postgres_began_anew(url, before), 60)

    async def _kill_flow(self) -> None:
        flow = self._flow_process
        flow.kill()

        async def gone() -> bool:
            return flow.poll() is not None

        await until(gone)
        self._flow, self._completed = None, False

    @property
    def _flow_process(self) -> Driver:
        assert self._flow is not None
        return self._flow
