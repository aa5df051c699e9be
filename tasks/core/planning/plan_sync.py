"""Decide what a sync must do, what it costs, and whether it may: before it does any of it."""

import math

from tasks.core.database.connections import Connection, without_nested_loops
from tasks.core.database.statements import Identifier, affected_rows, statements_of
from tasks.core.errors import GuardStopped
from tasks.core.planning.recover import find_paid, load_paid
from tasks.core.runs.run import Run
from tasks.core.runs.space_lock import require_running
from tasks.core.spaces.hnsw import drop_worn_hnsw
from tasks.core.spaces.nearest import find_vector
from tasks.core.spaces.registry import (
    count_write,
    create_tables,
    find_shown_space,
    list_like_spaces,
)
from tasks.core.text import count, dollars
from tasks.core.types import Change, Guard, SyncPlan

sql = statements_of(__name__)

SECONDS_A_BATCH = 20.0
MOST_BATCHES = 140
SMALLEST_BATCH = 10
LARGEST_BATCH = 5000

INDEXED_ROWS_PER_SECOND = 85
"""Rows that go in through an HNSW index at 1,408 dimensions: measured at an ef_construction of 64
were 182 to 368, and at 128 0.57 of that. At a slower pace the index keeps up."""

ASKED = ("new", "changed")
"""Kinds of change that take a call an image; of the other kinds none does."""

KINDS = (*ASKED, "moved or copied", "rewritten", "refused before")


def choose_batch_size(images: int, requests_per_minute: float) -> int:
    """Return how many images a batch should have.

    A batch is two Prefect task runs, embed and insert, which cost about 36 ms of server and client
    time each, and a graph of more than 300 bars is not readable: so about 20 s of work, and at
    most 140 batches a run, while they fit into LARGEST_BATCH.
    """
    wanted = max(requests_per_minute / 60 * SECONDS_A_BATCH, images / MOST_BATCHES)
    return int(min(max(math.ceil(wanted), SMALLEST_BATCH), LARGEST_BATCH))


async def plan_sync(run: Run) -> SyncPlan:
    """Compare the listing with the index and the space; begin the sync where its guards let it.

    What a dead run had paid for and not loaded is loaded first, so that it costs nothing again.
    Where the guards hold, the vectors that other spaces have are taken over, and the batches' work
    lists are written. A run that only plans does none of that, and counts it.

    Raises:
        UnknownImage: the image to verify with is neither listed nor known.
        PartInUse: a process of a dead run still writes.
    """
    options = run.options
    with run.timed("plan_sync"):
        recovered = await find_paid(run) if options.plan_only else await load_paid(run)
        async with run.writing() as connection:
            if options.plan_only:
                # Missing tables are made to compare with; the rollback removes them again.
                run.made_space = await create_tables(connection, options.space)
            await connection.execute(sql("create_diff"))
            await connection.execute(sql("create_known"))
            await _compare(connection, run, recovered.contents if options.plan_only else ())
            await _require_known_query(connection, run)
            run.plan = plan = await _price(connection, run, recovered.count)
            begins = plan.is_allowed and not options.plan_only
            if begins:
                await require_running(connection, run.run_id)
                await _begin(connection, run, plan)
        if begins:
            async with run.database.connection() as connection:
                await connection.execute(sql("analyze_work"))
                if options.requests_per_minute > 60 * INDEXED_ROWS_PER_SECOND or plan.taken_over:
                    await drop_worn_hnsw(connection, run.space, plan.calls + plan.taken_over)
            if plan.taken_over:
                await _take_over(run)
    run.progress.total = plan.calls
    return plan


def check_guards(plan: SyncPlan) -> None:
    """Let a plan pass whose guards all hold.

    Raises:
        GuardStopped: says what was found, and which parameter allows it; nothing was done yet.
    """
    broken = [guard for guard in plan.guards if not guard.held]
    if broken:
        found = " ".join(
            f"{guard.found} If that is meant, set {guard.parameter}." for guard in broken
        )
        raise GuardStopped(f"Nothing was called or deleted. {found}")


async def _compare(connection: Connection, run: Run, paid: tuple[str, ...]) -> None:
    """Fill the diff; `paid` are contents that any run but a plan would have loaded before."""
    options, space = run.options, run.space
    async with without_nested_loops(connection):
        await connection.execute(
            sql("fill_diff", **space.tables),
            run.run_id,
            options.bucket,
            space.space_id,
            options.retry_refused,
        )
    await connection.execute("ANALYZE diff")
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM diff)"):
        return
    async with without_nested_loops(connection):
        await connection.execute(sql("insert_recoverable"), paid)
        others = await list_like_spaces(connection, space)
        for other in others:
            statement = sql("insert_elsewhere", other=Identifier(f"vectors_{other}", "birdwalk"))
            await connection.execute(statement, other)
        await connection.execute(sql("mark_known"))
        # What one of them was refused may be in another.
        for other in () if options.retry_refused else others:
            await connection.execute(sql("take_over_refusals"), space.space_id, other)
            await connection.execute(sql("mark_refused_elsewhere"), other)
        await connection.execute(sql("mark_copies"))


async def _begin(connection: Connection, run: Run, plan: SyncPlan) -> None:
    """Write the work lists of the batches."""
    options = run.options
    await connection.execute(
        sql("delete_old_work"),
        run.run_id,
        options.index,
        options.model,
        options.dimension,
        options.preprocessing,
    )
    await connection.execute(sql("delete_batches"), run.run_id)
    await connection.execute(sql("insert_work"), run.run_id, plan.batch_size)
    await connection.execute(sql("insert_batches"), run.run_id)


async def _take_over(run: Run) -> None:
    """Copy the vectors that other spaces of the same kind have of the listed contents."""
    space, taken_over = run.space, 0
    async with run.database.transaction() as connection:
        await require_running(connection, run.run_id)
        for other in await list_like_spaces(connection, space):
            table = Identifier(f"vectors_{other}", "birdwalk")
            statement = sql("take_over", vectors=space.vectors, other=table)
            taken_over += affected_rows(await connection.execute(statement, run.run_id))
        statement = sql("delete_answered_refusals", vectors=space.vectors)
        await connection.execute(statement, space.space_id)
        await connection.execute(sql("update_run_taken_over"), run.run_id, taken_over)
        await count_write(connection, space)
    run.vectors_written = True


async def _price(connection: Connection, run: Run, recovered: int) -> SyncPlan:
    options = run.options
    counts = {row["kind"]: row["images"] for row in await connection.fetch(sql("count_diff"))}
    changes = [
        Change(
            kind,
            images := counts.get(kind, 0),
            images if kind in ASKED else 0,
            await _examples(connection, kind),
        )
        for kind in KINDS
    ]
    gone, indexed = await _count_gone(connection, run)
    calls = sum(change.calls for change in changes)
    price = calls * run.model.price
    return SyncPlan(
        listed=run.listed,
        indexed=indexed,
        unchanged=run.listed - sum(change.images for change in changes),
        changes=(*changes, gone),
        recovered=recovered,
        taken_over=await connection.fetchval(sql("count_elsewhere")),
        batch_size=options.batch_size or choose_batch_size(calls, options.requests_per_minute),
        price=price,
        seconds_at_quota=calls * 60 / options.requests_per_minute,
        guards=(
            _guard_listing(run, indexed),
            _guard_deletions(run, gone.images, indexed),
            _guard_price(run, price, calls),
        ),
    )


async def _examples(connection: Connection, kind: str) -> tuple[str, ...]:
    rows = await connection.fetch(sql("select_diff_examples"), kind)
    return tuple(row["image_id"] for row in rows)


async def _count_gone(connection: Connection, run: Run) -> tuple[Change, int]:
    """Return the images that left the bucket, and how many of that part of it readers see."""
    options = run.options
    scope = (run.run_id, options.bucket, options.prefix)
    shown = await find_shown_space(connection, options.index)
    if shown is None:
        return Change("gone", 0, 0, ()), 0
    async with without_nested_loops(connection):
        row = await connection.fetchrow(sql("count_gone", **shown.tables), *scope)
        if options.limit is not None or not row["gone"]:
            # A listing that was cut short says nothing of what is not in it.
            return Change("gone", 0, 0, ()), row["indexed"]
        gone = await connection.fetch(sql("select_gone", **shown.tables), *scope)
    examples = tuple(found["image_id"] for found in gone)
    return Change("gone", row["gone"], 0, examples), row["indexed"]


def _guard_listing(run: Run, indexed: int) -> Guard:
    where = f"gs://{run.options.bucket}/{run.options.prefix}"
    return Guard(
        name="the listing is not empty",
        held=run.listed > 0 or indexed == 0 or run.options.allow_empty,
        found=f"{where} holds no image, while the index has {indexed:,} of it.",
        parameter="allow_empty=true",
    )


def _guard_deletions(run: Run, gone: int, indexed: int) -> Guard:
    share = gone / indexed if indexed else 0.0
    return Guard(
        name=f"at most {100 * run.options.max_deletions:g}% of the index is gone",
        held=share <= run.options.max_deletions or (gone == indexed and run.options.allow_empty),
        found=f"{gone:,} of {count(indexed, 'image')} of the index ({share:.1%}) left the bucket;"
        f" at most {run.options.max_deletions:.1%} may be deleted.",
        parameter=f"max_deletions={min(1.0, math.ceil(share * 1000) / 1000):g}",
    )


def _guard_price(run: Run, price: float, calls: int) -> Guard:
    most = dollars(run.options.max_price)
    return Guard(
        name=f"it costs at most {most}",
        held=price <= run.options.max_price,
        found=f"{count(calls, 'call costs', 'calls cost')} about {dollars(price)}; at most"
        f" {most} may be spent.",
        parameter=f"max_price={math.ceil(price * 100) / 100:g}",
    )


async def _require_known_query(connection: Connection, run: Run) -> None:
    """Before anything is paid for: the image to verify with must be listed, or known already."""
    query = run.options.query
    if query is not None and not await connection.fetchval(
        sql("select_is_listed"), run.run_id, query
    ):
        await find_vector(connection, run.space, run.options.bucket, query)
