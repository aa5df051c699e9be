"""The steps of a sync, called as the flow does but without Prefect."""

from dataclasses import dataclass

from tasks.core import csvreport, embedding, hnsw, listing, loading, plan, spaces, verdicts
from tasks.core.run import Run, SyncOptions, open_run
from tasks.core.settings import Settings
from tasks.core.types import BatchReport, CsvReport, IndexReport, Listing, Space, SyncPlan, Verdict

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
    index: IndexReport
    verdict: Verdict
    space: Space

    def total(self, field: str) -> int:
        """Return the sum of a field over the batches' reports."""
        return sum(getattr(report, field) for report in self.reports)


def options(bucket: str, **changes: object) -> SyncOptions:
    """Return the options of a run on a bucket, at the pace of the machine."""
    return SyncOptions(**{"bucket": bucket, "requests_per_minute": FAST, **changes})  # type: ignore[arg-type]  # each test names real fields


async def prepare(run: Run) -> SyncPlan:
    """List the bucket, make the table, and plan."""
    await listing.list_images(run)
    await spaces.create_table(run)
    return await plan.plan_sync(run)


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
        made = await prepare(run)
        reports = await load(run, made)
        csv = await csvreport.write_csv(run)
        index = await hnsw.build_index(run)
        verdict = await verdicts.verify(run)
        verdicts.refuse_failed(verdict)
        space = await spaces.publish(run)
        assert run.listing is not None
        return Synced(run.run_id, run.listing, made, reports, csv, index, verdict, space)
