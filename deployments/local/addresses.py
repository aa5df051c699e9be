"""The options of a local stack, and the addresses of its servers."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.local.errors import StackError
from deployments.local.processes.http_probe import LOOPBACK
from deployments.local.vertex.options import MODEL_SERVER, ModelServerOptions

if TYPE_CHECKING:
    from deployments.local.processes.state import State

PROJECT = "birdwalk-local"
HEARTBEAT_SECONDS = 30
"""How often a flow run shows that it is alive; Prefect allows no shorter interval."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to start, and where.

    Attributes:
        state_directory: data, logs and state of the stack; made when missing.
        pictures: folder served as the bucket; None is the samples.
        bucket: the bucket's name.
        model: how the model server behaves.
        model_server: module that is run as the model server; tests run one that counts calls.
        prefect: whether to start the Prefect server.
        schedules: whether deployments run by their schedules.
        worker: whether to register the deployments and start a worker; needs `prefect`.
        gallery: whether to start the page over the indexes.
    """

    state_directory: Path
    pictures: Path | None = None
    bucket: str = "birdwalk"
    model: ModelServerOptions = field(default_factory=ModelServerOptions)
    # Whichever it is, the stack serves the same.
    model_server: str = field(default=MODEL_SERVER, compare=False)
    prefect: bool = True
    schedules: bool = True
    worker: bool = False
    gallery: bool = False

    def resolved(self) -> "StackOptions":
        """Make the state directory, and return the options with absolute paths.

        Raises:
            StackError: a path cannot be used, or the options contradict each other.
        """
        directory = self.state_directory.expanduser()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(f"The state directory {directory} cannot be made: {error}") from error
        pictures = None if self.pictures is None else self.pictures.expanduser().resolve()
        if pictures is not None and not pictures.is_dir():
            raise StackError(f"{pictures} is not a folder; give one with pictures in it.")
        if self.worker and not self.prefect:
            raise StackError("The worker needs the Prefect server.")
        return replace(self, state_directory=directory.resolve(), pictures=pictures)

    def check_against(self, state: "State") -> None:
        """Check that a stack that is up is the one these options ask for, or has more servers.

        Raises:
            StackError: it was started with other options.
        """
        found = state.options
        servers = ("prefect", "worker", "gallery")
        wanted = {name: getattr(self, name) for name in servers}
        if (
            found is None
            or replace(found, **wanted) != self
            or any(wanted[name] and not getattr(found, name) for name in servers)
        ):
            raise StackError(
                f"The stack in {self.state_directory} is up with other options. "
                "Stop it first: birdwalk down"
            )


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers of a running stack answer.

    Attributes:
        database_url: the database `birdwalk` over the Unix socket; no password needed.
        database_tcp_url: the same over loopback TCP, with the password.
        storage_endpoint: of Cloud Storage.
        vertex_endpoint: of Vertex AI; http:// means without TLS.
        prefect_api_url: of the Prefect server; None when it was not asked for.
        prefect_ui_url: what a person opens.
        data_directory: where flows write their files.
        prefect_home: where Prefect keeps its files.
        gallery_url: what a person opens to look at the indexes; None when it was not asked for.
    """

    database_url: str
    database_tcp_url: str
    storage_endpoint: str
    vertex_endpoint: str
    prefect_api_url: str | None
    prefect_ui_url: str | None
    data_directory: Path
    prefect_home: Path
    gallery_url: str | None = None

    @classmethod
    def of(cls, state: "State") -> "Addresses":
        """Return the addresses of a stack that is up.

        Raises:
            StackError: it is not up.
        """
        if state.addresses is None or not state.running:
            raise StackError("The local stack is not up. Start it: birdwalk up")
        return state.addresses

    def environment(self) -> dict[str, str]:
        """Return the variables with which the flows find this stack."""
        # A proxy from the environment cannot reach our loopback.
        inherited = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
        no_proxy = ",".join(filter(None, [inherited, LOOPBACK, "localhost"]))
        prefect = {}
        if self.prefect_api_url is not None:
            # Links to runs open in the interface that the server shows first.
            ui_url = f"{self.prefect_ui_url}/v2"
            prefect = {
                "PREFECT_API_URL": self.prefect_api_url,
                "PREFECT_UI_URL": ui_url,
                # Runs with rarer heartbeats would be taken for dead: see deployments.automations.
                "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
            }
        return {
            "BIRDWALK_DATABASE_URL": self.database_url,
            "BIRDWALK_STORAGE_ENDPOINT": self.storage_endpoint,
            "BIRDWALK_VERTEX_ENDPOINT": self.vertex_endpoint,
            "BIRDWALK_PROJECT": PROJECT,
            "BIRDWALK_DATA_DIRECTORY": str(self.data_directory),
            # So that `psql` and `down` find this stack in a shell that has these variables.
            "BIRDWALK_LOCAL_DIRECTORY": str(self.data_directory.parent),
            **prefect,
            "PREFECT_HOME": str(self.prefect_home),
            "DO_NOT_TRACK": "1",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }
