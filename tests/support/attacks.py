"""When a sync is killed: at random instants, and in each of its steps."""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack

from tests.support.databases import fetch
from tests.support.killing import PATIENCE_SECONDS, Attack
from tests.support.moments import Hold, Moment, holding
from tests.support.waiting import until

POWER = ("flow", "postgres", "vertex", "storage")
"""All there is, at once: as if the machine lost its power."""

TARGETS = (("flow",), ("flow",), ("postgres",), ("vertex",), POWER)
CHANGES_BETWEEN_RUNS = 12
CHANGES_UNDER_WAY = 3
IMAGES_ADDED = 8
"""For a step: so that the run has calls to make."""

SPACES = "SELECT space_id, index_id FROM birdwalk.spaces ORDER BY space_id"
BUSY_SECONDS = 0.1

ANSWERS_KEPT = 16
"""Before a kill among calls: more than may be lost, and the next run is to find the others."""


async def kill_at_random(attack: Attack, kills: int, longest: float) -> None:
    """Kill so many times; the bucket changes between the runs and while they call.

    Args:
        attack: what to kill.
        kills: how often.
        longest: seconds that a run may go on between two kills.
    """
    for _ in range(kills):
        targets = attack.random.choice(TARGETS)
        instant = attack.random.uniform(0.05, longest)
        # One in four hits whatever the sync does first: its listing, its plan, its recovery.
        early = attack.random.random() < 0.25
        while not await _last(attack, instant, early=early):
            # The run was shorter: a run of a few changes is soon over.
            instant /= 2
            _change(attack, CHANGES_BETWEEN_RUNS)
        attack.log.append(
            f"run {attack.runs}: kill {'+'.join(targets)} after {instant:.2f} s"
            f"{'' if early else ' of calls'}, {attack.spending.answers()} answers"
        )
        await attack.kill([name for name in targets if name in attack.killable])
        if await attack.ended():
            _change(attack, CHANGES_BETWEEN_RUNS)


async def _last(attack: Attack, seconds: float, *, early: bool) -> bool:
    """Let a run go on for so long; return whether it is still under way then."""
    if await attack.ended():
        await attack.begin()
    if early:
        await asyncio.sleep(seconds)
        return not await attack.ended()
    before = attack.spending.answers()

    async def calls_or_ended() -> bool:
        return attack.spending.answers() > before or await attack.ended()

    await until(calls_or_ended, PATIENCE_SECONDS)
    await asyncio.sleep(seconds / 2)
    _change(attack, CHANGES_UNDER_WAY)
    await asyncio.sleep(seconds / 2)
    return not await attack.ended()


def _change(attack: Attack, objects: int) -> None:
    done = attack.bucket.change(objects)
    attack.log.append(f"run {attack.runs}: {', '.join(done)}")


async def kill_in(attack: Attack, moment: Moment, targets: Collection[str]) -> None:
    """Kill in a step of a run, which begins here, as soon as the step waits for its lock.

    Args:
        attack: what to kill.
        moment: the step.
        targets: the names of what to kill; "backend" is the one Postgres process at work.
    """
    await until(attack.ended, PATIENCE_SECONDS)
    _change(attack, CHANGES_UNDER_WAY)
    images = IMAGES_ADDED if moment.statement else 3 * ANSWERS_KEPT
    added = sorted(attack.bucket.add().removeprefix("add ") for _ in range(images))
    lock = moment.lock.format(**await _places(attack, moment))
    url = attack.servers.database_url
    async with AsyncExitStack() as stack:
        hold = await stack.enter_async_context(holding(url, lock))
        await attack.begin()
        if moment.changes:
            await _until_answers(attack, moment, 1)
            # Some of them are asked after that: an answer about another version than was listed.
            done = [attack.bucket.replace(name) for name in added[1::4]]
            attack.log.append(f"run {attack.runs}: {', '.join(done)}")
        if moment.then:
            await _wait(attack, hold, "")
            then = await stack.enter_async_context(holding(url, moment.then))
            hold.release()
            hold = then
        backend = await _strike_at(attack, moment, hold)
        if moment.past_csv and not attack.csv_is_written():
            attack.faults.append(f"run {attack.runs} was in {moment.step!r} before its inserts")
        if moment.second_run:
            await attack.try_second_run()
        attack.log.append(
            f"run {attack.runs}: kill {'+'.join(targets)} in {moment.step!r},"
            f" {attack.spending.answers()} answers"
        )
        await attack.kill(
            [name for name in targets if name in attack.killable],
            backend if "backend" in targets else None,
        )


async def _strike_at(attack: Attack, moment: Moment, hold: Hold) -> int | None:
    """Wait for the instant of a step; return the Postgres process that is at work in it."""
    if moment.statement:
        return await _wait(attack, hold, moment.statement)
    await _until_answers(attack, moment, ANSWERS_KEPT)
    await asyncio.sleep(attack.random.uniform(0, BUSY_SECONDS))
    return None


async def _until_answers(attack: Attack, moment: Moment, answers: int) -> None:
    """Wait until a run has got so many answers."""

    async def enough() -> bool:
        assert not await attack.ended(), f"the run ended before {moment.step!r}"
        return attack.spending.answers() >= answers

    await until(enough, PATIENCE_SECONDS)


async def _wait(attack: Attack, hold: Hold, statement: str) -> int:
    """Wait until a run waits for a lock, in the statement that is expected to."""
    found: list[tuple[int, str]] = []

    async def blocked() -> bool:
        if (one := await hold.waiting()) is not None:
            found.append(one)
        assert found or not await attack.ended(), f"the run never waited in {statement!r}"
        return bool(found)

    await until(blocked, PATIENCE_SECONDS)
    pid, waiting = found[0]
    assert statement in waiting, f"{statement!r} was expected to wait, not {waiting!r}"
    return pid


async def _places(attack: Attack, moment: Moment) -> dict[str, str]:
    """Return what stands in a lock's places."""
    sight, current = await attack.see(), attack.bucket.current
    places = {}
    for space, index in await fetch(attack.servers.database_url, SPACES):
        places = {"vectors": f"birdwalk.vectors_{space}", "images": f"birdwalk.images_{index}"}
    if moment.overwrites:
        kept = attack.parts() - sight.contents
        names = sorted(name for name in current if current[name].content in kept)
        replaced, touched, *_ = names
        # Of these two the bucket has another version now.
        attack.bucket.replace(replaced)
        attack.bucket.touch(touched)
    if "{gone}" in moment.lock:
        places["gone"] = attack.random.choice(sorted(sight.names & current.keys()))
        attack.bucket.delete(places["gone"])
    return places
