"""Postgres may be away for as long as the README says, and no step of a run gives up before."""

import pytest
from httpx import ConnectError, HTTPStatusError, Request, Response
from prefect.client.schemas.objects import State, StateType, TaskRun

from tasks.core.errors import BirdwalkError, DatabaseError, DatabaseUnavailable, InvalidInput
from tasks.core.runs import outages
from tasks.core.runs.outages import SECONDS_WITHOUT_DATABASE, outlasting
from tasks.embedding import embed_batch
from tasks.loading import insert_batch
from tasks.retrying import BRIEF, is_worth_retrying


def refusal(status: int) -> HTTPStatusError:
    return HTTPStatusError("", request=Request("POST", "http://a/"), response=Response(status))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; they take no time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return made


class Postgres:
    """Fails so often, then answers."""

    def __init__(self, failures: int, error: BirdwalkError) -> None:
        self.failures = failures
        self.error = error

    @outlasting
    async def ask(self) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise self.error
        return "answer"


async def test_a_question_outlasts_an_outage(pauses: list[float]) -> None:
    assert await Postgres(6, DatabaseUnavailable("away")).ask() == "answer"
    assert sum(pauses) >= SECONDS_WITHOUT_DATABASE


async def test_a_question_fails_in_an_outage_that_lasts(pauses: list[float]) -> None:
    with pytest.raises(DatabaseUnavailable):
        await Postgres(1000, DatabaseUnavailable("away")).ask()
    assert tuple(pauses) == outages.PAUSES_WITHOUT_DATABASE


async def test_a_question_that_postgres_refuses_is_asked_once(pauses: list[float]) -> None:
    with pytest.raises(DatabaseError):
        await Postgres(1, DatabaseError("no such table")).ask()
    assert pauses == []


def test_the_steps_of_a_run_outlast_an_outage_and_who_asks_waits_for_less() -> None:
    for step in (embed_batch, insert_batch):
        delays = step.retry_delay_seconds
        assert isinstance(delays, list)
        assert len(delays) == step.retries
        assert sum(delays) >= SECONDS_WITHOUT_DATABASE
    assert sum(BRIEF["retry_delay_seconds"]) < SECONDS_WITHOUT_DATABASE / 4


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (DatabaseUnavailable("away"), 99),
        (ConnectError("Prefect is away"), 99),
        (refusal(503), 99),
        (refusal(422), 3),
        (ZeroDivisionError("a mistake"), 3),
        (InvalidInput(""), 0),
    ],
)
async def test_a_mistake_is_tried_a_few_times_and_an_outage_as_long_as_it_may_last(
    error: Exception, attempts: int
) -> None:
    failed = State[None](type=StateType.FAILED, data=error)
    tried = 0
    while tried < 99:
        run = TaskRun(task_key="embed", dynamic_key="0", run_count=tried + 1)
        if not await is_worth_retrying(embed_batch, run, failed):
            break
        tried += 1
    assert tried == attempts
