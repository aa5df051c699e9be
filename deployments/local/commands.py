"""The commands of `birdwalk` about the local stack: the whole job on this machine, on loopback."""

import asyncio
import shlex
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from deployments.local.addresses import Addresses, StackOptions
from deployments.local.processes.state import State, read_state
from deployments.local.vertex.options import ModelServerOptions
from tasks.core.settings import get_settings

DOWN = 3  # as `systemctl status` and init scripts have it

StateDirectory = Annotated[
    Path | None,
    Parameter(
        help="Data, logs and state of the stack; by default BIRDWALK_LOCAL_DIRECTORY, or the"
        " folder local in BIRDWALK_DATA_DIRECTORY."
    ),
]


Json = Annotated[bool, Parameter(help="Print one JSON object, for programs.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Served:
    """What is served as the bucket, and by what model.

    Attributes:
        pictures: Folder served as the bucket; by default the sample pictures.
        bucket: Name of the bucket.
        model: How the model server behaves.
        state_directory: Data, logs and state of the stack.
    """

    pictures: Path | None = None
    bucket: str = "birdwalk"
    model: Annotated[ModelServerOptions, Parameter(name="*", group="Model server")] = field(
        default_factory=ModelServerOptions
    )
    state_directory: StateDirectory = None

    def options(self) -> StackOptions:
        """Return what to start: nothing but what a flow needs."""
        return StackOptions(
            state_directory=_directory(self.state_directory),
            pictures=self.pictures,
            bucket=self.bucket,
            model=self.model,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Started(Served):
    """What is served, and the servers beside it.

    Attributes:
        no_prefect: Leave out Prefect and its worker.
        no_worker: Leave out the worker.
        no_gallery: Leave out the gallery.
    """

    no_prefect: bool = False
    no_worker: bool = False
    no_gallery: bool = False

    def options(self) -> StackOptions:
        """Return what to start."""
        return replace(
            Served.options(self),
            prefect=not self.no_prefect,
            worker=not (self.no_prefect or self.no_worker),
            gallery=not self.no_gallery,
        )


ONLY_SERVED, STARTED = Served(), Started()


def demo(*, query: str | None = None, served: Served = ONLY_SERVED) -> int:
    """Embed the sample pictures, or a folder of yours, and show the nearest of one.

    Starts the local stack for it, and stops what it started.

    Args:
        query: The picture to ask with, as it is named in the folder.
        served: What is served as the bucket.
    """
    from deployments.local import demo as job

    return asyncio.run(job.demo(served.options().resolved(), query))


def up(*, started: Started = STARTED) -> int:
    """Start the local stack in the background, and show where its servers are.

    Args:
        started: What is started.
    """
    from deployments.local import background

    options = started.options().resolved()
    state = read_state(options.state_directory)
    if state.up:
        options.check_against(state)
        print("The local stack is already up.")
    else:
        state = asyncio.run(background.start(options))
    print_servers(state)
    return 0


def run(*, started: Started = STARTED) -> int:
    """Run the local stack until Ctrl-C.

    Args:
        started: What is started.
    """
    from deployments.local import background

    return asyncio.run(background.run(started.options(), print_servers))


def down(*, state_directory: StateDirectory = None) -> int:
    """Stop the local stack; its data stays for the next start."""
    from deployments.local import background

    directory = _directory(state_directory).expanduser().resolve()
    stopped = directory.is_dir() and asyncio.run(background.stop(directory))
    print("The local stack is down." if stopped else "The local stack was not up.")
    return 0


def status(
    *,
    json: Json = False,
    state_directory: StateDirectory = None,
) -> int:
    """Show the local stack's servers; the exit status is 3 when it is not up."""
    state = _read(state_directory)
    whole = state.up and all(server.process.alive() for server in state.servers)
    if json:
        sys.stdout.write(orjson.dumps(_as_json(state, up=whole)).decode() + "\n")
        return 0 if whole else DOWN
    print_servers(state)
    if not whole:
        print("The local stack is starting." if _starting(state) else "The local stack is down.")
    if state.failure:
        print(state.failure)
    return 0 if whole else DOWN


def env(*, state_directory: StateDirectory = None) -> int:
    """Print the lines for a shell that let flows find the local stack: eval "$(birdwalk env)"."""
    for name, value in Addresses.of(_read(state_directory)).environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def psql(
    *,
    command: Annotated[
        tuple[str, ...], Parameter(name=["-c"], allow_leading_hyphen=True, negative=())
    ] = (),
    state_directory: StateDirectory = None,
) -> int:
    """Open the local stack's database in psql, or ask it one question in SQL.

    Args:
        command: A question; may be given several times. Without one, a prompt.
        state_directory: Data, logs and state of the stack.
    """
    from deployments.local.postgres.home import psql as program

    url = Addresses.of(_read(state_directory)).database_tcp_url
    questions = [word for question in command for word in ("-c", question)]
    return subprocess.call((program(), "--no-psqlrc", url, *questions))


def print_servers(state: State) -> None:
    """Print a line for each server: its process, whether it lives, and where it answers."""
    for server in state.servers:
        alive = "alive" if server.process.alive() else "dead"
        print(f"{server.name:10}{server.process.pid:>8}  {alive:7}{server.address}")


def _directory(named: Path | None) -> Path:
    settings = get_settings()
    return named or settings.local_directory or settings.data_directory / "local"


def _read(state_directory: Path | None) -> State:
    return read_state(_directory(state_directory).expanduser().resolve())


def _starting(state: State) -> bool:
    return state.running and not state.up


def _as_json(state: State, *, up: bool) -> dict[str, Any]:
    return {
        "up": up,
        "starting": _starting(state),
        "servers": [
            {
                "name": server.name,
                "process": server.process.pid,
                "alive": server.process.alive(),
                "address": server.address,
            }
            for server in state.servers
        ],
        "failure": state.failure,
    }
