"""Decide what a sync must do, what it costs, and whether it may: before it does any of it."""

import math

from tasks.core.database.connections import Connection, without_nested_loops
from tasks.core.database.statements import statements_of
from tasks.core.errors import GuardStopped
from tasks.core.planning.recover import expect_nothing, leave_out_expected, recover_parts
from tasks.core.runs.run import Run
from tasks.core.runs.space import find_space
from tasks.core.spaces.nearest import find_vector
from tasks.core.spaces.registry import space_table
from tasks.core.text import count, dollars
from tasks.core.types import Change, Guard, Space, SyncPlan

sql = statements_of(__name__)
drift_sql = statements_of("tasks.core.spaces.drift")

SECONDS_A_BATCH = 20.0
MOST_BATCHES = 140
SMALLEST_BATCH = 10
LARGEST_BATCH = 5000

KINDS = ("new", "changed", "duplicate", "touched", "refused before")


def choose_batch_size(images: int, requests_per_minute: float) -> int:
    """Return how many images a batch should have.

    A batch is two Prefect task runs, embed and insert, which cost about 36 ms of server and client
    time each, and a graph of more than 300 bars is not readable: so about 20 s of work, and at
    most 140 batches a run, while they fit into LARGEST_BATCH.
    """
    wanted = max(requests_per_minute / 60 * SECONDS_A_BATCH, images / MOST_BATCHES)
    return int(min(max(math.ceil(wanted), SMALLEST_BATCH), LARGEST_BATCH))


async def plan_sync(run: Run) -> SyncPlan:
    """Compare the listing with the space's table; write the batches' work lists.

    What a dead run had paid for and not loaded is loaded first, or, where only a plan was asked
    for, counted. Guards are only judged here;
    `refuse_unguarded` stops the run.

    Raises:
        UnknownImage: the image to verify with is neither listed nor known.
    """
    options = run.options
    with run.timed("plan_sync"):
        space = await find_space(run)
        if options.plan_only:
            await expect_nothing(run)
        recovered, waiting = await recover_parts(run, space)
        async with run.database.transaction() as connection:
            await connection.execute(sql("delete_old_pending"), options.index, run.run_id, waiting)
            changes = await _compare(connection, run, space)
            await _refuse_unknown_query(connection, run, space)
            calls = sum(change.images for change in changes if change.kind in {"new", "changed"})
            size = options.batch_size or choose_batch_size(calls, options.requests_per_minute)
            await connection.execute(sql("insert_pending"), run.run_id, size)
            await connection.execute(sql("insert_twins"), run.run_id)
            gone, stored = await _count_gone(connection, run, space)
        await run.database.analyze(sql("analyze_pending"))
    run.progress.total = calls
    run.plan = _price(run, (*changes, gone), recovered=recovered, batch_size=size, stored=stored)
    return run.plan


def refuse_unguarded(plan: SyncPlan) -> None:
    """Let a plan pass whose guards all hold, or stop the run before any call or delete.

    Raises:
        GuardStopped: says what was found, and which parameter allows it.
    """
    broken = [guard for guard in plan.guards if not guard.held]
    if broken:
        found = " ".join(
            f"{guard.found} If that is meant, set {guard.parameter}." for guard in broken
        )
        raise GuardStopped(f"Nothing was called or deleted. {found}")


async def _compare(connection: Connection, run: Run, space: Space) -> tuple[Change, ...]:
    table, options = space_table(space), run.options
    await connection.execute(sql("create_diff"))
    await connection.execute(
        sql("fill_diff", table=table),
        run.run_id,
        options.bucket,
        space.space_id,
        options.retry_refused,
    )
    await connection.execute("ANALYZE diff")
    if options.plan_only:
        await leave_out_expected(connection)
    if await connection.fetchval("SELECT EXISTS (SELECT FROM diff)"):
        async with without_nested_loops(connection):
            await connection.execute(sql("mark_known_content", table=table))
        await connection.execute(sql("mark_twins"))
    counts = {row["kind"]: row["images"] for row in await connection.fetch(sql("count_diff"))}
    return tuple(
        [Change(kind, counts.get(kind, 0), await _examples(connection, kind)) for kind in KINDS]
    )


async def _examples(connection: Connection, kind: str) -> tuple[str, ...]:
    rows = await connection.fetch(sql("select_diff_examples"), kind)
    return tuple(row["image_id"] for row in rows)


async def _count_gone(connection: Connection, run: Run, space: Space) -> tuple[Change, int]:
    """Return the rows whose image left the bucket, and the rows of that part of the bucket."""
    options = run.options
    scope = (run.run_id, options.bucket, options.prefix)
    table = space_table(space)
    row = await connection.fetchrow(sql("count_gone", table=table), *scope)
    if options.limit is not None:
        # A listing that was cut short says nothing of what is not in it.
        return Change("gone", 0, ()), row["rows"]
    examples = (
        await connection.fetch(drift_sql("select_extra", table=table), *scope)
        if row["gone"]
        else ()
    )
    names = tuple(example["image_id"] for example in examples)
    return Change("gone", row["gone"], names), row["rows"]


def _price(
    run: Run, changes: tuple[Change, ...], *, recovered: int, batch_size: int, stored: int
) -> SyncPlan:
    images = {change.kind: change.images for change in changes}
    listed = run.listing.images if run.listing else 0
    calls = images["new"] + images["changed"]
    price = calls * run.model.price
    return SyncPlan(
        listed=listed,
        stored=stored,
        unchanged=listed - sum(images[kind] for kind in KINDS),
        changes=changes,
        recovered=recovered,
        batch_size=batch_size,
        price=price,
        seconds_at_quota=calls * 60 / run.options.requests_per_minute,
        guards=(
            _guard_listing(run, listed, stored),
            _guard_deletions(run, images["gone"], stored),
            _guard_price(run, price, calls),
        ),
    )


def _guard_listing(run: Run, listed: int, stored: int) -> Guard:
    where = f"gs://{run.options.bucket}/{run.options.prefix}"
    return Guard(
        name="the listing is not empty",
        held=listed > 0 or stored == 0 or run.options.allow_empty,
        found=f"{where} holds no image, while the index has {stored:,} of it.",
        parameter="allow_empty=true",
    )


def _guard_deletions(run: Run, gone: int, stored: int) -> Guard:
    share = gone / stored if stored else 0.0
    return Guard(
        name=f"at most {run.options.max_deletions:.0%} of the index is gone",
        held=share <= run.options.max_deletions or (gone == stored and run.options.allow_empty),
        found=f"{gone:,} of {count(stored, 'image')} of the index ({share:.1%}) left the bucket;"
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


async def _refuse_unknown_query(connection: Connection, run: Run, space: Space) -> None:
    """Before anything is paid for: the image to verify with must be listed, or known already."""
    query = run.options.query
    if query is not None and not await connection.fetchval(
        sql("select_is_listed"), run.run_id, query
    ):
        await find_vector(connection, run, space, query)
