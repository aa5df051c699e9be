"""The steps of a sync, called as the flow does but without Prefect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from tasks.core.concurrency import for_each
from tasks.core.embedding import embed_batch, outcomes
from tasks.core.embedding.work_list import claim_batches
from tasks.core.loading import build_index, insert_batch, write_csv
from tasks.core.planning import create_table, list_images, plan_sync
from tasks.core.publishing import publish, verify
from tasks.core.runs import accounting, lifecycle
from tasks.core.runs.lifecycle import open_run
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space
from tasks.core.types import (
    Batch,
    Counts,
    CsvReport,
    IndexReport,
    Listing,
    Publication,
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
    space: Space
    plan: SyncPlan
    batches: tuple[Counts, ...]
    csv: CsvReport
    index: IndexReport
    verdict: Verdict
    published: Publication

    def total(self, field: str) -> int:
        """Return the sum of a field over the batches' counts."""
        return sum(getattr(counts, field) for counts in self.batches)


def options(bucket: str, **changes: object) -> SyncOptions:
    """Return the options of a run on a bucket, at the pace of the machine.

    Shares of a handful of images are large: the guards on them are open unless a test closes them.
    """
    open_guards = {"max_deletions": 1.0, "max_refusals": 1.0, "max_leftovers": 1.0}
    return SyncOptions(**{"bucket": bucket, "requests_per_minute": FAST, **open_guards, **changes})  # type: ignore[arg-type]  # each test names real fields


async def prepare(run: Run) -> SyncPlan:
    """List the bucket, make the tables, plan, and stop where a guard says so."""
    await list_images.list_images(run)
    await create_table.create_table(run)
    made = await plan_sync.plan_sync(run)
    plan_sync.check_guards(made)
    return made


async def load(run: Run, at_once: int = 1) -> tuple[Counts, ...]:
    """Embed and insert the batches that nobody has, by default one after the other."""

    async def embed_and_insert(batch: Batch) -> Counts:
        counts = await embed_batch.embed_batch(run, batch.number)
        return await insert_batch.insert_batch(run, batch.number, counts)

    return tuple(await for_each(claim_batches(run), embed_and_insert, at_once))


async def finish(run: Run) -> tuple[IndexReport, Verdict, Publication]:
    """Build the index, verify, and publish, or stop where the gate says so."""
    index = await build_index.build_index(run)
    verdict = await verify.verify(run)
    verify.check_verdict(verdict)
    return index, verdict, await publish.publish(run)


async def sync(settings: Settings, bucket: str, **changes: object) -> Synced:
    """Sync a bucket in a run of its own, and return what each step did."""
    async with open_run(options(bucket, **changes), settings, "test") as run:
        return await carry_out(run, await prepare(run))


async def carry_out(run: Run, made: SyncPlan) -> Synced:
    """Do what a plan says, to the end, and return what each step did."""
    batches = await load(run)
    csv = await write_csv.write_csv(run)
    outcomes.check_refusals(run, await outcomes.list_refusals(run))
    outcomes.check_leftovers(run, await outcomes.list_leftovers(run))
    index, verdict, published = await finish(run)
    assert run.listing is not None
    return Synced(
        run_id=run.run_id,
        listing=run.listing,
        space=run.space,
        plan=made,
        batches=batches,
        csv=csv,
        index=index,
        verdict=verdict,
        published=published,
    )


class Killed(BaseException):
    """The process of a run is no more."""


@asynccontextmanager
async def dying_run(settings: Settings, bucket: str, **changes: object) -> AsyncIterator[Run]:
    """Yield an open run that ends with the block as a killed one: its locks go, nothing is said."""

    async def say_nothing(*_arguments: object) -> None:
        pass

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(lifecycle, "_record_failure", say_nothing)
        patch.setattr(accounting, "_count", say_nothing)
        async with open_run(options(bucket, **changes), settings, "test") as run:
            yield run
            raise Killed


async def die_with_parts(
    settings: Settings, bucket: str, batches: int = 1, **changes: object
) -> None:
    """Embed the first batches into their parts, and die before they are inserted."""
    async with dying_run(settings, bucket, **{"batch_size": 10, **changes}) as run:
        await prepare(run)
        for batch in range(1, batches + 1):
            await embed_batch.embed_batch(run, batch)
