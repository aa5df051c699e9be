"""What a run came to: the counts of its batches, for people to read."""

from dataclasses import dataclass

from tasks.core.database.statements import statements_of
from tasks.core.runs.accounting import count_sent, read_totals
from tasks.core.runs.outages import outlasting
from tasks.core.runs.run import Run
from tasks.core.types import Counts, Listing, SyncPlan

runs = statements_of("tasks.core.runs.runs")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run listed, changed and cost.

    Attributes:
        plan: None where the run ended before it had one.
        totals: what its batches add up to; of calls also those in vain.
        taken_over: vectors that another index had.
        changed: images that readers see anew or in another version; `removed`: no longer.
        price: what Google charges for the answers, in US dollars.
        images_per_second: answers a second while embedding; None where nothing was asked.
        seconds: wall seconds by step; the steps of batches overlap.
    """

    run_id: int
    index: str
    listing: Listing
    plan: SyncPlan | None
    totals: Counts
    taken_over: int
    changed: int
    removed: int
    price: float
    images_per_second: float | None
    seconds: dict[str, float]

    def planned(self, kind: str) -> int:
        """Images that the plan had of a kind of change."""
        return self.plan.images(kind) if self.plan else 0

    @property
    def without_call(self) -> int:
        """Images that changed and whose content had a vector, or got one under another name."""
        return self.planned("moved or copied") + self.planned("rewritten")


async def summarise_now(run: Run) -> RunSummary:
    """Return the summary of an open run, as far as it came.

    Raises:
        DatabaseUnavailable: Postgres is away.
    """
    async with run.database.transaction() as connection:
        await count_sent(connection, run.run_id, run.counts)
        totals = await read_totals(connection, run.run_id)
        changes = await connection.fetchrow(runs("select_run_changes"), run.run_id)
    seconds = run.seconds
    embedding = seconds.get("embed_batches", 0.0)
    return RunSummary(
        run_id=run.run_id,
        index=run.options.index,
        listing=run.listing or Listing(0, 0),
        plan=run.plan,
        totals=totals,
        taken_over=changes["taken_over"],
        changed=changes["changed"],
        removed=changes["removed"],
        price=totals.answers * run.model.price,
        images_per_second=totals.answers / embedding if embedding and totals.answers else None,
        seconds=seconds,
    )


@outlasting
async def summarise(run: Run) -> RunSummary:
    """As summarise_now, but wait for a Postgres that is away for a while."""
    return await summarise_now(run)
