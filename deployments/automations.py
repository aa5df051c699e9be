"""Register what a Prefect server does by itself: the command `birdwalk automations`.

When a worker dies together with its flow, nobody tells the server: the run stays Running for ever.
Prefect frees the slot of its deployment after five minutes, but not where the server was restarted
meanwhile; then every later run of a schedule is cancelled. So a run whose heartbeats stopped is
marked Crashed, which frees the slot. (https://docs.prefect.io/v3/advanced/detect-zombie-flows)
"""

import asyncio
import sys
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from httpx import HTTPError
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import PREFECT_API_URL

from flows.terminal.exits import make_app, run_app

NAME = "birdwalk: mark runs without a heartbeat as crashed"

FLOWS = (
    "check-index",
    "drop-space",
    "embed-images",
    "embed-shard",
    "find-duplicates",
    "find-similar",
    "rollback",
)

HEARTBEAT_SECONDS = 180
"""How often a run shows that it is alive, where PREFECT_FLOWS_HEARTBEAT_FREQUENCY does not say
otherwise: Prefect's own default. It takes 30 at least."""

SHORTEST_HEARTBEAT_SECONDS = 30

HEARTBEATS_MISSED = 3
"""Prefect may lose an event, or be restarted."""


def crash_silent_runs(silence: timedelta) -> AutomationCore:
    """Return the automation that marks a run as Crashed whose heartbeats stopped.

    Only runs of deployments of our flows: others may have heartbeats that are further apart. One
    that has ended is left alone, since Prefect refuses the change.

    Args:
        silence: the time without a heartbeat after which a run is taken for dead.
    """
    states = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")
    ends = {f"prefect.flow-run.{state}" for state in states}
    heartbeat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name=NAME,
        description=f"No heartbeat for {silence.total_seconds():.0f} s: its process or its machine"
        " died, with the worker that would have said so. The next run goes on from there.",
        enabled=True,
        trigger=EventTrigger(
            after={heartbeat},
            expect={heartbeat} | ends,
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=[
                ResourceSpecification(
                    {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
                ),
                ResourceSpecification(
                    {
                        "prefect.resource.role": "deployment",
                        "prefect.resource.id": "prefect.deployment.*",
                    }
                ),
            ],
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message="Its heartbeats stopped: its process or its machine died. What was embedded"
                " is kept; the next run goes on from there.",
            )
        ],
    )


async def register(client: PrefectClient, wanted: AutomationCore) -> str:
    """Create an automation, or make the one of its name as wanted; return what was done.

    One that somebody paused stays paused.
    """
    for found in await client.read_automations_by_name(wanted.name):
        if found.id is None:
            continue
        wanted = wanted.model_copy(update={"enabled": found.enabled})
        if _is_as_wanted(found, wanted):
            # An update would forget the runs that are silent now.
            return "was as it should be"
        await client.update_automation(found.id, wanted)
        return "was updated"
    await client.create_automation(wanted)
    return "was created"


def _is_as_wanted(found: AutomationCore, wanted: AutomationCore) -> bool:
    # What is found has an id besides.
    fields = set(AutomationCore.model_fields)
    return found.model_dump(include=fields) == wanted.model_dump(include=fields)


def automations(
    *,
    heartbeat_seconds: Annotated[
        int, Parameter(validator=Number(gte=SHORTEST_HEARTBEAT_SECONDS))
    ] = HEARTBEAT_SECONDS,
) -> int:
    """Let a Prefect server mark runs as crashed whose worker died with them.

    Args:
        heartbeat_seconds: PREFECT_FLOWS_HEARTBEAT_FREQUENCY of every worker; healthy runs with a
            longer one would be marked.
    """
    if PREFECT_API_URL.value() is None:
        print("Set PREFECT_API_URL to the server that is to have it.", file=sys.stderr)
        return 1
    silence = timedelta(seconds=HEARTBEATS_MISSED * heartbeat_seconds)
    try:
        print(f"The automation {NAME!r} {asyncio.run(_register(silence))}.")
    except (HTTPError, RuntimeError) as error:
        print(f"Prefect's server did not take it (PREFECT_API_URL): {error}", file=sys.stderr)
        return 1
    return 0


async def _register(silence: timedelta) -> str:
    async with get_client() as client:
        return await register(client, crash_silent_runs(silence))


if __name__ == "__main__":
    app = make_app("python -m deployments.automations")
    app.default(automations)
    run_app(app, ())
