"""The command `birdwalk`: all that a person or a program does with it.

Help and version answer at once: a command's module is imported when the command is named, and what
a command does is read from the source until then.
"""

from typing import NoReturn

from cyclopts import App, Group

from flows.terminal.exits import make_app, run_app
from flows.terminal.signature import read_docstring
from tasks.core.errors import BirdwalkError

LOCAL, INDEX, SERVERS, HELP = (
    Group.create_ordered(name) for name in ("The local stack", "An index", "Servers", "Help")
)

COMMANDS = {
    "demo": (LOCAL, "deployments.local.commands:demo"),
    "up": (LOCAL, "deployments.local.commands:up"),
    "down": (LOCAL, "deployments.local.commands:down"),
    "status": (LOCAL, "deployments.local.commands:status"),
    "env": (LOCAL, "deployments.local.commands:env"),
    "psql": (LOCAL, "deployments.local.commands:psql"),
    "sync": (INDEX, "deployments.index_commands:sync"),
    "plan": (INDEX, "deployments.index_commands:plan"),
    "similar": (INDEX, "deployments.index_commands:similar"),
    "duplicates": (INDEX, "deployments.index_commands:duplicates"),
    "check": (INDEX, "deployments.index_commands:check"),
    "spaces": (INDEX, "deployments.index_commands:spaces"),
    "rollback": (INDEX, "deployments.index_commands:rollback"),
    "drop-space": (INDEX, "deployments.index_commands:drop_space"),
    "gallery": (SERVERS, "deployments.gallery.__main__:gallery"),
    "automations": (SERVERS, "deployments.automations:automations"),
}

FLOWS = {
    "sync": "flows.embed_images:embed_images",
    "similar": "flows.find_similar:find_similar",
    "duplicates": "flows.find_duplicates:find_duplicates",
    "check": "flows.check_index:check_index",
    "rollback": "flows.rollback:rollback",
    "drop-space": "flows.drop_space:drop_space",
}
"""Whose help a command's is."""


def birdwalk() -> App:
    """Return the command line; no command is imported yet."""
    app = make_app(
        "birdwalk",
        help="Keep a Postgres/pgvector index of image embeddings equal to a bucket, and ask it.",
        version=_version,
        group_commands=HELP,
    )
    for place, (name, (group, command)) in enumerate(COMMANDS.items()):
        text = read_docstring(*FLOWS.get(name, command).split(":"))
        app.command(command, name=name, group=group, sort_key=place, help=text)
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("birdwalk")


def main() -> NoReturn:
    """Run the command that the arguments name, and exit: 0 done, 1 failed, 2 wrong usage."""
    run_app(birdwalk(), (BirdwalkError,))
