"""The steps of a sync, called as the flow does but without Prefect."""

from dataclasses import dataclass

from tasks.core import (
    csvreport,
    embedding,
    hnsw,
    listing,
    loading,
    pending,
    plan,
    reconcile,
    refusals,
    spaces,
    verdicts,
)
from tasks.core.opening import open_run
from tasks.core.options import SyncOptions
from tasks.core.run import Run
from tasks.core.settings import Settings
from tasks.core.types import (
    BatchReport,
    CsvReport,
    IndexReport,
    Listing,
    RemovalReport,
    ReuseReport,
    Space,
    SyncPlan,
    Verdict,
)

FAST = 600_000
"""Requests a minute that no local server answers: the pace is left to the machine."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What each step of a finished sync returned."""

    run_id: int
    listing: Listing
    plan: SyncPlan
    reports: tuple[BatchReport, ...]
    csv: CsvReport
    reused: ReuseReport
    removed: RemovalReport
    index: IndexReport
    verdict: Verdict
    space: Space

    def total(self, field: str) -> int:
        """Return the sum of a field over the batches' reports."""
        return sum(getattr(report, field) for report in self.reports)


def options(bucket: str, **changes: object) -> SyncOptions:
    """Return the options of a run on a bucket, at the pace of the machine.

    Shares of a handful of images are large: the guards on them are open unless a test closes them.
    """
    open_guards = {"max_deletions": 1.0, "max_refusals": 1.0, "max_pending": 1.0}
    return SyncOptions(**{"bucket": bucket, "requests_per_minute": FAST, **open_guards, **changes})  # type: ignore[arg-type]  # each test names real fields


async def prepare(run: Run) -> SyncPlan:
    """List the bucket, make the table, plan, and stop where a guard says so."""
    await listing.list_images(run)
    await spaces.create_table(run)
    made = await plan.plan_sync(run)
    plan.refuse_unguarded(made)
    return made


async def load(run: Run, made: SyncPlan) -> tuple[BatchReport, ...]:
    """Embed and insert the batches of a plan, one after the other."""
    return tuple(
        [
            await loading.insert_batch(run, await embedding.embed_batch(run, batch.number))
            for batch in made.batches
        ]
    )


async def finish(run: Run) -> Verdict:
    """Build the index, verify, and publish, or stop where the gate says so."""
    await hnsw.build_index(run)
    verdict = await verdicts.verify(run)
    verdicts.refuse_failed(verdict)
    await spaces.publish(run)
    return verdict


async def sync(settings: Settings, bucket: str, **changes: object) -> Synced:
    """Sync a bucket in a run of its own, and return what each step did."""
    async with open_run(options(bucket, **changes), settings, "test") as run:
        return await carry_out(run, await prepare(run))


async def carry_out(run: Run, made: SyncPlan) -> Synced:
    """Do what a plan says, to the end, and return what each step did."""
    known = await reconcile.reuse_vectors(run, made)
    reports = await load(run, made)
    csv = await csvreport.write_csv(run)
    twins = await reconcile.reuse_vectors(run, made)
    refusals.refuse_too_many(run, await refusals.list_refusals(run))
    pending.refuse_too_many_pending(run, await pending.list_pending(run))
    removed = await reconcile.remove_gone(run, made)
    index = await hnsw.build_index(run)
    verdict = await verdicts.verify(run)
    verdicts.refuse_failed(verdict)
    space = await spaces.publish(run)
    assert run.listing is not None
    return Synced(
        run_id=run.run_id,
        listing=run.listing,
        plan=made,
        reports=reports,
        csv=csv,
        reused=ReuseReport(known.touched + twins.touched, known.copied + twins.copied),
        removed=removed,
        index=index,
        verdict=verdict,
        space=space,
    )
