"""What the tests of an embedding batch share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from tasks.core.csv_parts import PartWriter
from tasks.core.embedding import embed_image
from tasks.core.embedding.embed_batch import BatchEmbedder
from tasks.core.google.rate_limit import Limiter
from tasks.core.runs.options import SyncOptions
from tasks.core.runs.run import Clients, Run, RunIdentity
from tasks.core.settings import Settings
from tests.support.scripted import SPACE, Ledger, Model, Start, Storage


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what opens a batch whose model follows a script; backoffs take no time."""
    monkeypatch.setattr(embed_image, "FIRST_BACKOFF_SECONDS", 0.0)
    writers: list[PartWriter] = []

    def open_batch(
        script: dict[str, list[Exception]], budget: float = 60.0, **generations: int | None
    ) -> tuple[BatchEmbedder, Model, Ledger]:
        model, ledger = Model(script), Ledger()
        run = Run(
            identity=RunIdentity(1, UUID(int=1)),
            options=SyncOptions(bucket="b", index="photos"),
            settings=Settings(image_time_budget_seconds=budget, data_directory=tmp_path),
            database=cast("Any", ledger),
            lock=cast("Any", None),
            clients=Clients(cast("Any", model), Storage(**generations)),
            limiter=Limiter(10_000_000),
            made_space=SPACE,
        )
        writers.append(PartWriter(run.part(1), 2))
        return BatchEmbedder(run, 1, writers[-1]), model, ledger

    yield open_batch
    for writer in writers:
        writer.__exit__(None, None, None)
