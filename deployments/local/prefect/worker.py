"""The worker that runs the flows, and the registration of their deployments and automations."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deployments.local.addresses import HEARTBEAT_SECONDS
from deployments.local.errors import StackError
from deployments.local.processes.http_probe import post_json
from deployments.local.processes.program import Program, run

POOL = "birdwalk"
CHECKOUT = Path(__file__).resolve().parents[3]
ROOT = CHECKOUT
"""Where prefect.yaml is, and the flows that it names."""

START_SECONDS = 120.0
REGISTER_SECONDS = 180.0
STOP_SECONDS = 20.0  # its flow runs are cancelled, and need time to report it
WITHOUT = ("PREFECT_",)


def program(*, api_url: str, environment: Mapping[str, str], log: Path) -> Program:
    """Return the process worker; it makes the work pool when there is none.

    Args:
        api_url: of the Prefect server.
        environment: what the flows need to find the local servers.
        log: file that receives its output.
    """

    async def ready() -> bool:
        workers = await post_json(f"{api_url}/work_pools/{POOL}/workers/filter", {})
        return any(worker["status"] == "ONLINE" for worker in workers or [])

    # Prefect's runner makes runner_storage in the temporary directory, which may be another user's.
    temporary = log.parent.with_name("tmp")
    temporary.mkdir(exist_ok=True)
    return Program(
        name="worker",
        command=(
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", POOL, "--type", "process", "--name", "local"),
        ),
        log=log,
        ready=ready,
        address=f"work pool {POOL}",
        environment={**environment, "TMPDIR": str(temporary)},
        start_seconds=START_SECONDS,
        without=WITHOUT,
        stop_seconds=STOP_SECONDS,
        directory=ROOT,
    )


def check_deployments() -> None:
    """Check that there is a prefect.yaml to register.

    Raises:
        StackError: there is none.
    """
    if not (ROOT / "prefect.yaml").exists():
        raise StackError(
            f"There is no prefect.yaml in {ROOT}, so the worker has no deployment to run. "
            "Start the stack from the repository's checkout, or without the worker."
        )


async def register_deployments(worker: Program) -> None:
    """Register every deployment of prefect.yaml; the work pool must exist.

    Raises:
        StackError: Prefect refused it; with the end of what it said.
    """
    await run(
        replace(
            worker,
            name="prefect deploy",
            command=(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
            log=worker.log.with_name("deploy.log"),
            start_seconds=REGISTER_SECONDS,
        )
    )


async def register_automations(worker: Program) -> None:
    """Let the Prefect server mark runs as crashed that died with their worker.

    Raises:
        StackError: Prefect refused it; with the end of what it said.
    """
    heartbeat = ("--heartbeat-seconds", str(HEARTBEAT_SECONDS))
    await run(
        replace(
            worker,
            name="deployments.automations",
            command=(sys.executable, "-m", "deployments.automations", *heartbeat),
            log=worker.log.with_name("automations.log"),
            start_seconds=REGISTER_SECONDS,
            directory=CHECKOUT,
        )
    )
