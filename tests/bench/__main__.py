"""Measure birdwalk against its bars: python -m tests.bench [overhead|pace|load|memory|...].

Every figure stands beside a yardstick measured in the same session on the same machine. The exit
status is 1 when a bar is missed.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tasks.core.errors import BirdwalkError
from tests.bench import (
    changes,
    gallery,
    kill,
    load,
    local_model,
    memory,
    million,
    no_change,
    overhead,
    pace,
    quality,
    queries,
    quota,
    similar,
    small_pictures,
    start_to_exit,
)
from tests.bench.figures import machine_load, show
from tests.bench.session import MeasurementFailed, Session, opened

BENCHMARKS = {
    "overhead": overhead,
    "pace": pace,
    "load": load,
    "memory": memory,
    "local_model": local_model,
    "small_pictures": small_pictures,
    "no_change": no_change,
    "start_to_exit": start_to_exit,
    "similar": similar,
    "quota": quota,
    "queries": queries,
    "kill": kill,
    "quality": quality,
    "gallery": gallery,
}

BY_NAME_ONLY = {"million": million, "changes": changes}
"""A million images each, which takes half an hour and two minutes: run where they are named."""

KNOWN = BENCHMARKS | BY_NAME_ONLY


async def run(names: Sequence[str]) -> bool:
    """Run the benchmarks of these names, print their tables, and return whether all bars held."""
    async with opened() as session:
        # A list, not a generator: one missed bar hides no other.
        return all([await _run_one(session, name) for name in names])


async def _run_one(session: Session, name: str) -> bool:
    benchmark, start, load = KNOWN[name], time.monotonic(), machine_load()
    try:
        with Console(stderr=True).status(f"Measuring {name} ..."):
            figures = await benchmark.measure(session)
    except MeasurementFailed as error:
        print(f"{benchmark.TITLE}\n{error}\n", flush=True)
        return False
    caption = (
        f"{time.monotonic() - start:.0f} s on {os.cpu_count()} processors; "
        f"load {load:.1f} before, {machine_load():.1f} after"
    )
    show(benchmark.TITLE, figures, caption)
    return all(figure.held for figure in figures)


def main() -> int:
    """Run what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(KNOWN))
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in KNOWN]:
        parser.error(f"unknown: {', '.join(unknown)}; expected: {', '.join(KNOWN)}")
    try:
        held = asyncio.run(run(names))
    except BirdwalkError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if not held:
        print("A bar was missed.", file=sys.stderr)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
