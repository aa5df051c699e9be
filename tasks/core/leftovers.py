"""The CSV parts that a dead run left, and what they say it had paid for."""

from pathlib import Path
from typing import Any

from tasks.core.csvfile import read_part
from tasks.core.ledger import Tally, count_unfinished
from tasks.core.postgres import Connection
from tasks.core.statements import sql


def parts_in(directory: Path) -> list[Path]:
    """Return the parts of a run's directory of parts, in the order of their batches."""
    return sorted(directory.glob("part-*.csv"))


def batch_of(part: Path) -> int:
    """Return the number of a part's batch."""
    return int(part.stem.removeprefix("part-"))


async def count_part(connection: Connection, dead_run: Any, part: Path) -> None:
    """Count for a dead run what it paid for and never counted, whoever may use it now.

    A part that may still be written is the caller's to hold: it is counted once.
    """
    run_id, batch = dead_run["run_id"], batch_of(part)
    durable = await connection.fetch(sql("select_finished_batches"), run_id)
    if batch not in {row["batch"] for row in durable}:
        tally = Tally.of_rows(len(read_part(part, dead_run["dimension"])))
        await count_unfinished(connection, run_id, dead_run["model"], {batch: tally})
