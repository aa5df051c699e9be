"""The automation for silent runs is about all our deployments, and patient with them."""

import re
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from prefect.events.schemas.automations import EventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import automations as module
from deployments.automations import FLOWS, automations, crash_silent_runs
from deployments.command_line import birdwalk

ROOT = Path(__file__).parents[3]


def test_it_knows_every_flow_that_is_deployed() -> None:
    text = (ROOT / "prefect.yaml").read_text()
    entrypoints = set(re.findall(r"entrypoint: flows/(\w+)\.py:(\w+)", text))
    deployed = {getattr(import_module(f"flows.{file}"), flow).name for file, flow in entrypoints}
    assert set(FLOWS) == deployed


def test_a_run_that_says_how_it_ended_is_not_silent() -> None:
    trigger = crash_silent_runs(timedelta(seconds=90)).trigger
    assert isinstance(trigger, EventTrigger)
    assert trigger.within == timedelta(seconds=90)
    ends = {"Completed", "Failed", "Cancelled", "Crashed", "TimedOut"}
    assert {f"prefect.flow-run.{end}" for end in ends} == trigger.expect - trigger.after


@pytest.mark.parametrize(("given", "seconds"), [({}, 540), ({"heartbeat_seconds": 30}, 90)])
def test_three_heartbeats_must_be_missed(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, int], seconds: int
) -> None:
    wanted: list[timedelta] = []

    async def register(silence: timedelta) -> str:
        wanted.append(silence)
        return "was created"

    monkeypatch.setattr(module, "_register", register)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert automations(**given) == 0
    assert wanted == [timedelta(seconds=seconds)]


def test_no_server_of_its_own_is_started_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert automations() == 1
    assert "Set PREFECT_API_URL" in capsys.readouterr().err


def test_heartbeats_shorter_than_prefects_are_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        birdwalk()(["automations", "--heartbeat-seconds", "29"])
