"""The steps of a sync, called as the flow does but without Prefect."""

from dataclasses import dataclass

from tasks.core.embedding import embed_batch, outcomes
from tasks.core.loading import build_index, insert_batch, reuse_vectors, write_csv
from tasks.core.planning import create_table, list_images, plan_sync
from tasks.core.publishing import publish, verify
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import Run
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
    await list_images.list_images(run)
    await create_table.create_table(run)
    made = await plan_sync.plan_sync(run)
    plan_sync.refuse_unguarded(made)
    return made


async def load(run: Run, made: SyncPlan) -> tuple[BatchReport, ...]:
    """Embed and insert the batches of a plan, one after the other."""
    return tuple(
        [
            await insert_batch.insert_batch(run, await embed_batch.embed_batch(run, batch.number))
            for batch in made.batches
        ]
    )


async def finish(run: Run) -> Verdict:
    """Build the index, verify, and publish, or stop where the gate says so."""
    await build_index.build_index(run)
    verdict = await verify.verify(run)
    verify.refuse_failed(verdict)
    await publish.publish(run)
    return verdict


async def sync(settings: Settings, bucket: str, **changes: object) -> Synced:
    """Sync a bucket in a run of its own, and return what each step did."""
    async with open_run(options(bucket, **changes), settings, "test") as run:
        return await carry_out(run, await prepare(run))


async def carry_out(run: Run, made: SyncPlan) -> Synced:
    """Do what a plan says, to the end, and return what each step did."""
    known = await reuse_vectors.reuse_vectors(run, made)
    reports = await load(run, made)
    csv = await write_csv.write_csv(run)
    twins = await reuse_vectors.reuse_vectors(run, made)
    outcomes.refuse_too_many(run, await outcomes.list_refusals(run))
    outcomes.refuse_too_many_pending(run, await outcomes.list_pending(run))
    removed = await reuse_vectors.remove_gone(run, made)
    index = await build_index.build_index(run)
    verdict = await verify.verify(run)
    verify.refuse_failed(verdict)
    space = await publish.publish(run)
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
