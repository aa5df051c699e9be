"""What a run came to: the counts of its batches, for people to read."""

from dataclasses import asdict, dataclass

from tasks.core.ledger import Tally, read_sent
from tasks.core.markdown import code
from tasks.core.outages import outlasting
from tasks.core.postgres import Connection
from tasks.core.run import Run
from tasks.core.statements import sql
from tasks.core.types import Listing, SyncPlan
from tasks.core.wording import dollars


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
        changes = await connection.fetchrow(sql("select_run_changes"), run.run_id)
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
    row = await connection.fetchrow(sql("select_run_totals"), run.run_id)
    durable = {
        row["batch"] for row in await connection.fetch(sql("select_finished_batches"), run.run_id)
    }
    totals = dict(row)
    counted = await read_sent(connection, run.run_id)
    for batch, tally in run.tallies.items():
        if batch not in durable:
            before = counted.get(batch, Tally())
            for name, count in asdict(tally).items():
                totals[name] += max(0, count - getattr(before, name))
    # With the twins of those that a batch left.
    totals["pending"] = await connection.fetchval(sql("count_pending"), run.run_id)
    return RunTotals(**totals)


def summary_markdown(summary: RunSummary, verdict: str) -> str:
    """Return the summary as a markdown document: two tables, one of counts, one of seconds."""
    totals, pace = summary.totals, summary.images_per_second
    skipped = summary.listing.skipped
    reasons = "; ".join(f"{count:,} {why}" for why, count in skipped.items())
    rows = [
        ("objects listed", f"{summary.listing.objects:,}"),
        ("images among them", f"{summary.listing.images:,}"),
        ("objects skipped", f"{sum(skipped.values()):,}{f' ({reasons})' if reasons else ''}"),
        ("unchanged", f"{summary.plan.unchanged if summary.plan else 0:,}"),
        ("recovered from a dead run", f"{summary.plan.recovered if summary.plan else 0:,}"),
        ("reused without a call", f"{summary.reused:,}"),
        ("embedded", f"{totals.embedded:,}"),
        ("refused", f"{totals.refused:,}"),
        ("refused before, not asked again", f"{summary.planned('refused before'):,}"),
        ("gone since the listing", f"{totals.gone:,}"),
        ("left for the next run", f"{totals.pending:,}"),
        ("removed", f"{summary.removed:,}"),
        ("calls", f"{totals.calls:,}"),
        ("retries", f"{totals.retries:,}"),
        ("429s (deferred)", f"{totals.deferrals:,}"),
        ("images a second", f"{pace:,.1f}" if pace else "nothing was asked"),
        ("price on Vertex AI", dollars(summary.price)),
    ]
    counts = "\n".join(f"| {name} | {value} |" for name, value in rows)
    steps = "\n".join(f"| {step} | {value:,.2f} |" for step, value in summary.seconds.items())
    return (
        f"# Run {summary.run_id} of index {code(summary.index)}: {verdict}\n\n"
        f"| what | how many |\n| --- | --- |\n{counts}\n\n"
        f"| step | seconds |\n| --- | --- |\n{steps}\n"
    )
