"""The local stack's commands, and `run`, which keeps it in the foreground."""

from deployments.local import commands
from deployments.local.errors import StackError
from flows.terminal.exits import make_app, run_app

app = make_app("python -m deployments.local", help=__doc__)
for command in (
    commands.demo,
    commands.up,
    commands.down,
    commands.status,
    commands.env,
    commands.psql,
    commands.run,
):
    app.command(command)

if __name__ == "__main__":
    run_app(app, (StackError,))
