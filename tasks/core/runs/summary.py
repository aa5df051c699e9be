"""What a run came to: the counts of its batches, for people to read."""

from dataclasses import asdict, dataclass

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.runs.accounting import Tally, read_sent
from tasks.core.runs.outages import outlasting
from tasks.core.runs.run import Run
from tasks.core.types import Listing, SyncPlan

batches_sql = statements_of("tasks.core.runs.batches")
runs_sql = statements_of("tasks.core.runs.runs")


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What a run's batches add up to; fields as in BatchReport, of calls also those in vain."""

    images: int = 0
    embedded: int = 0
    recovered: int = 0
    refused: int = 0
    gone: int = 0
    pending: int = 0
    calls: int = 0
    answers: int = 0
    retries: int = 0
    deferrals: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run listed, changed and cost.

    Attributes:
        plan: None where the run ended before it had one.
        reused, removed: vectors given without a call; rows deleted.
        price: what Google charges for the answers, in US dollars.
        images_per_second: answers a second while embedding; None where nothing was asked.
        seconds: wall seconds by step; the steps of batches overlap.
    """

    run_id: int
    index: str
    listing: Listing
    plan: SyncPlan | None
    totals: RunTotals
    reused: int
    removed: int
    price: float
    images_per_second: float | None
    seconds: dict[str, float]

    def planned(self, kind: str) -> int:
        """Images that the plan had of a kind of change."""
        return self.plan.images(kind) if self.plan else 0


async def summarise_now(run: Run) -> RunSummary:
    """Return the summary of an open run, as far as it came.

    Raises:
        DatabaseUnavailable: Postgres is away.
    """
    async with run.database.connection() as connection:
        totals = await _read_totals(connection, run)
        changes = await connection.fetchrow(runs_sql("select_run_changes"), run.run_id)
    seconds = run.seconds
    embedding = seconds.get("embed_batches", 0.0)
    return RunSummary(
        run_id=run.run_id,
        index=run.options.index,
        listing=run.listing or Listing(0, 0),
        plan=run.plan,
        totals=totals,
        reused=changes["reused"],
        removed=changes["removed"],
        price=totals.answers * run.model.price,
        images_per_second=totals.answers / embedding if embedding and totals.answers else None,
        seconds=seconds,
    )


@outlasting
async def summarise(run: Run) -> RunSummary:
    """As summarise_now, but wait for a Postgres that is away for a while."""
    return await summarise_now(run)


async def _read_totals(connection: Connection, run: Run) -> RunTotals:
    """Return the totals of the durable batches, with what the others have sent so far."""
    row = await connection.fetchrow(batches_sql("select_run_totals"), run.run_id)
    durable = {
        row["batch"]
        for row in await connection.fetch(batches_sql("select_finished_batches"), run.run_id)
    }
    totals = dict(row)
    counted = await read_sent(connection, run.run_id)
    for batch, tally in run.tallies.items():
        if batch not in durable:
            before = counted.get(batch, Tally())
            for name, count in asdict(tally).items():
                totals[name] += max(0, count - getattr(before, name))
    # With the twins of those that a batch left.
    totals["pending"] = await connection.fetchval(batches_sql("count_pending"), run.run_id)
    return RunTotals(**totals)
