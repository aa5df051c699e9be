"""The local stack's command line: python -m deployments.local up|down|status|run|demo|psql|env."""

import argparse
import asyncio
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

from deployments.local.addresses import Addresses, StackOptions
from deployments.local.errors import StackError
from deployments.local.processes.state import State, read_state
from deployments.local.vertex.options import ModelServerOptions
from tasks.core.settings import get_settings

DOWN = 3  # as `systemctl status` and init scripts have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = _parser()
    options, others = parser.parse_known_args(arguments)
    if others and options.command not in {_up, _run, _demo}:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options.model = others
    try:
        return int(options.command(options))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    settings = get_settings()
    parser = argparse.ArgumentParser(prog="python -m deployments.local", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--state-directory",
        type=Path,
        default=settings.local_directory or settings.data_directory / "local",
        help="data, logs and state of the stack (default: %(default)s)",
    )
    start = argparse.ArgumentParser(add_help=False)
    start.add_argument("--pictures", type=Path, help="folder served as the bucket; the samples")
    start.add_argument("--bucket", default="birdwalk", help="its name (default: %(default)s)")
    start.add_argument("--no-prefect", action="store_true", help="leave out Prefect and the worker")
    start.add_argument("--no-worker", action="store_true", help="leave out the worker")
    start.add_argument("--no-gallery", action="store_true", help="leave out the gallery")
    names = (field.name.replace("_", "-") for field in fields(ModelServerOptions))
    start.add_argument_group(
        "model server",
        f"--{', --'.join(names)}, as in --latency-seconds 0.2 --error-rates.UNAVAILABLE 0.01",
    )
    ask = argparse.ArgumentParser(add_help=False)
    ask.add_argument("--query", help="the picture to ask with, as named in the folder")
    ask_sql = argparse.ArgumentParser(add_help=False)
    ask_sql.add_argument("-c", dest="question", help="a question in SQL; without it, a prompt")
    for name, command, parents, text in (
        ("up", _up, [place, start], "start the stack in the background"),
        ("down", _down, [place], "stop it"),
        ("status", _status, [place], f"show each server; exit status {DOWN} when down"),
        ("run", _run, [place, start], "run the stack until Ctrl-C"),
        ("demo", _demo, [place, start, ask], "embed the pictures and show the nearest of one"),
        ("psql", _psql, [place, ask_sql], "look at the database; -c runs one question"),
        ("env", _env, [place], "print export lines for a shell"),
    ):
        commands.add_parser(name, parents=parents, help=text).set_defaults(command=command)
    return parser


def _model_options(arguments: Sequence[str]) -> ModelServerOptions:
    """Read the model server's options; there is one for each field of its dataclass."""
    from cyclopts import App, Parameter  # noqa: PLC0415 - takes a while; `status` must not

    app = App(help_flags=(), version_flags=(), result_action="return_value")

    @app.default
    def read(
        *, model: Annotated[ModelServerOptions | None, Parameter(name="*")] = None
    ) -> ModelServerOptions:
        return model or ModelServerOptions()

    options: ModelServerOptions = app(arguments)
    return options


def _options(arguments: argparse.Namespace) -> StackOptions:
    prefect = not arguments.no_prefect
    return StackOptions(
        state_directory=arguments.state_directory,
        pictures=arguments.pictures,
        bucket=arguments.bucket,
        model=_model_options(arguments.model),
        prefect=prefect,
        worker=prefect and not arguments.no_worker,
        gallery=not arguments.no_gallery,
    )


def _up(arguments: argparse.Namespace) -> int:
    from deployments.local import background  # noqa: PLC0415 - takes a second; `status` must not

    options = _options(arguments).resolved()
    state = read_state(options.state_directory)
    if state.up:
        options.check_against(state)
        print("The local stack is already up.")
    else:
        state = asyncio.run(background.start(options))
    _print_servers(state)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    from deployments.local import background  # noqa: PLC0415 - as in _up

    directory = arguments.state_directory.expanduser().resolve()
    stopped = directory.is_dir() and asyncio.run(background.stop(directory))
    print("The local stack is down." if stopped else "The local stack was not up.")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    state = read_state(arguments.state_directory.expanduser().resolve())
    _print_servers(state)
    whole = state.up and all(server.process.alive() for server in state.servers)
    if not whole:
        print("The local stack is starting." if _starting(state) else "The local stack is down.")
    if state.failure:
        print(state.failure)
    return 0 if whole else DOWN


def _run(arguments: argparse.Namespace) -> int:
    from deployments.local import background  # noqa: PLC0415 - as in _up

    return asyncio.run(background.run(_options(arguments), _print_servers))


def _demo(arguments: argparse.Namespace) -> int:
    from deployments.local.demo import demo  # noqa: PLC0415 - as in _up

    options = replace(_options(arguments), prefect=True, worker=False, gallery=False)
    return asyncio.run(demo(options.resolved(), arguments.query))


def _psql(arguments: argparse.Namespace) -> int:
    from deployments.local.postgres.home import psql  # noqa: PLC0415 - as in _up

    state = read_state(arguments.state_directory.expanduser().resolve())
    question = () if arguments.question is None else ("-c", arguments.question)
    url = Addresses.of(state).database_tcp_url
    return subprocess.call((psql(), "--no-psqlrc", url, *question))


def _env(arguments: argparse.Namespace) -> int:
    state = read_state(arguments.state_directory.expanduser().resolve())
    for name, value in Addresses.of(state).environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _starting(state: State) -> bool:
    return state.running and not state.up


def _print_servers(state: State) -> None:
    for server in state.servers:
        alive = "alive" if server.process.alive() else "dead"
        print(f"{server.name:10}{server.process.pid:>8}  {alive:7}{server.address}")


if __name__ == "__main__":
    sys.exit(main())
