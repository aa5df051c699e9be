"""A run reports itself in Prefect's UI and in the terminal, each by itself."""

import asyncio
import sys
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from httpx import ConnectError

from tasks import runs
from tests.support.waiting import until


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the run's log warns of."""
    warned: list[str] = []
    logger = SimpleNamespace(warning=lambda text, *words: warned.append(text % words))
    monkeypatch.setattr(runs, "get_run_logger", lambda: logger)
    monkeypatch.setattr(runs, "SECONDS_BETWEEN_REPORTS", 0.001)
    monkeypatch.setattr(runs, "progress_sentence", lambda run: f"{run.progress.percent} done")
    return warned


class Server:
    """Prefect's server, which takes nothing while it is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.shown: list[tuple[float, str]] = []
        monkeypatch.setattr(runs, "acreate_progress_artifact", self.create)
        monkeypatch.setattr(runs, "aupdate_progress_artifact", self.update)

    async def create(self, percent: float, key: str, sentence: str) -> uuid.UUID:
        assert key == "progress"
        return await self.update(uuid.uuid4(), percent, sentence)

    async def update(self, artifact: uuid.UUID, percent: float, sentence: str) -> uuid.UUID:
        if self.away:
            raise ConnectError("nobody answers")
        self.shown.append((percent, sentence))
        return artifact


def run_at(percent: float, plan: object = "a plan") -> Any:
    return SimpleNamespace(progress=SimpleNamespace(percent=percent), plan=plan)


async def test_a_server_that_is_away_at_first_is_shown_progress_later(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(monkeypatch)
    server.away = True
    page = runs._ProgressPage(run_at(50.0))
    await page.show()
    await page.show()
    assert said == ["The artifact progress could not be written: nobody answers"], "said once"
    server.away = False
    await page.show()
    assert server.shown == [(50.0, "50.0 done")]


async def test_nothing_is_done_before_there_is_a_plan(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(monkeypatch)
    await runs._ProgressPage(run_at(100.0, plan=None)).show()
    assert [percent for percent, _ in server.shown] == [0.0]
    assert said == []


async def test_the_terminal_goes_on_when_prefects_server_does_not(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Server(monkeypatch).away = True
    lines: list[str] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.status.Status.update", lambda _status, line: lines.append(line))
    run = run_at(10.0)
    reporters = [
        asyncio.create_task(show(run)) for show in (runs._show_in_prefect, runs._show_in_terminal)
    ]

    async def is_said(line: str) -> bool:
        return line in lines

    await until(lambda: is_said("10.0 done"))
    run.progress.percent = 20.0
    await until(lambda: is_said("20.0 done"))
    await runs._end(reporters)
    assert len(said) == 1


async def test_a_reporter_that_breaks_is_said_and_ends_nothing(said: list[str]) -> None:
    async def broken() -> None:
        raise LookupError("a bug")

    reporter = asyncio.create_task(broken())
    await asyncio.sleep(0)
    await runs._end([reporter])
    assert said == ["The artifact progress could not be written: a bug"]
