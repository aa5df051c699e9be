"""The ledger: what every batch of every run has sent, so that prices add up to the bill.

A batch is counted when it is durable, in the transaction that writes its vectors; and where its run
ends without it, then. What a killed run had got is counted by its CSV parts; a shard, whose disk
may be another machine's, counts every few seconds. So only calls that were under way at a kill are
missing, and the last seconds of a killed shard of another machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from tasks.core.csv_parts import read_part
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.models import MODELS

batches_sql = statements_of("tasks.core.runs.batches")
runs_sql = statements_of("tasks.core.runs.runs")


@dataclass(slots=True)
class Tally:
    """What a batch has counted; what was sent counts over all attempts of the batch."""

    calls: int = 0
    answers: int = 0
    retries: int = 0
    deferrals: int = 0
    refused: int = 0
    gone: int = 0
    pending: int = 0

    @classmethod
    def of_rows(cls, rows: int) -> Self:
        """Return the tally of a batch of whose earlier attempts only rows of its part are left."""
        return cls(calls=rows, answers=rows)

    def begin_again(self) -> Self:
        """Forget what another attempt will find out anew."""
        self.refused = self.gone = self.pending = 0
        return self


async def count_unfinished(
    connection: Connection, run_id: int, model: str, tallies: Mapping[int, Tally]
) -> None:
    """Count what batches had sent that will never be durable, in a run that is over or ends.

    Those that are durable are left as they are. The run's totals are summed up anew.
    """
    await count_sent(connection, run_id, tallies)
    price = str(MODELS[model].price) if model in MODELS else None
    await connection.execute(runs_sql("update_run_totals"), run_id, price)


async def count_sent(connection: Connection, run_id: int, tallies: Mapping[int, Tally]) -> None:
    """Count what batches have sent so far that are not durable yet."""
    await connection.executemany(
        batches_sql("insert_tally"),
        [
            (
                run_id,
                batch,
                tally.refused,
                tally.gone,
                tally.pending,
                tally.calls,
                tally.answers,
                tally.retries,
                tally.deferrals,
            )
            for batch, tally in tallies.items()
        ],
    )


async def read_sent(connection: Connection, run_id: int) -> dict[int, Tally]:
    """Return what was counted of batches that are not durable."""
    rows = await connection.fetch(batches_sql("select_unfinished_tallies"), run_id)
    names = [field.name for field in fields(Tally)]
    return {row["batch"]: Tally(**{name: row[name] for name in names}) for row in rows}


async def bury_dead_runs(connection: Connection, index: str, run_id: int) -> None:
    """Close the earlier runs of an index that never ended, with what their batches add up to."""
    for row in await connection.fetch(runs_sql("bury_dead_runs"), index, run_id):
        await count_unfinished(connection, row["run_id"], row["model"], {})


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
    durable = await connection.fetch(batches_sql("select_finished_batches"), run_id)
    if batch not in {row["batch"] for row in durable}:
        tally = Tally.of_rows(len(read_part(part, dead_run["dimension"])))
        await count_unfinished(connection, run_id, dead_run["model"], {batch: tally})
