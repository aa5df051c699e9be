"""What the stack remembers in its directory: one JSON file, readable by its owner alone.

It names the running processes, so that a later command finds them, and keeps the ports and the
database password from one start to the next.
"""

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from deployments.local.addresses import Addresses, StackOptions
from deployments.local.errors import StackError
from deployments.local.processes.http_probe import LOOPBACK
from deployments.local.processes.identity import Identity
from deployments.local.processes.program import Process
from tasks.core.files import replacing


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """One server of the stack, as the state file knows it.

    Attributes:
        name: the program's name.
        address: where it answers, without any password.
        process: the server itself.
        stop_signal: what asks it to end.
    """

    name: str
    address: str
    process: Identity
    stop_signal: signal.Signals

    @classmethod
    def of(cls, process: Process) -> "ServerRecord":
        """Describe a running process."""
        program = process.program
        return cls(program.name, program.address, process.identity, program.stop_signal)


@dataclass(frozen=True, slots=True)
class State:
    """The content of the state file.

    Attributes:
        supervisor: the process that started the servers and stops them; None when it is down.
        servers: what runs, in the order in which it was started.
        ports: by server name; used again at the next start when still free.
        password: of the database's superuser, for TCP.
        options: what the stack was started with; None when it is down.
        addresses: what clients need; None unless every server answers.
        failure: why the stack ended, when it was not asked to.
    """

    supervisor: Identity | None = None
    servers: tuple[ServerRecord, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    password: str | None = None
    options: StackOptions | None = None
    addresses: Addresses | None = None
    failure: str | None = None

    @property
    def running(self) -> bool:
        """Whether the process that started the stack lives; its servers may still be starting."""
        return self.supervisor is not None and self.supervisor.alive()

    @property
    def up(self) -> bool:
        """Whether every server answers."""
        return self.addresses is not None and self.running


_STATE = TypeAdapter(State)
_NOT_OURS = (
    "The state directory {} belongs to another user. Run this as that user, "
    "or choose another one with --state-directory."
)


def state_file(directory: Path) -> Path:
    """Return the state file's path."""
    return directory / "stack.json"


def logs(directory: Path) -> Path:
    """Return the directory of the servers' logs."""
    return directory / "logs"


def read_state(directory: Path) -> State:
    """Return the remembered state; an empty one when there is none or it cannot be read.

    Raises:
        StackError: it belongs to another user.
    """
    try:
        return _STATE.validate_json(state_file(directory).read_bytes())
    except (FileNotFoundError, ValidationError):
        return State()
    except PermissionError:
        raise StackError(_NOT_OURS.format(directory)) from None


def write_state(directory: Path, state: State) -> None:
    """Replace the state file in one step, mode 0600."""
    with replacing(state_file(directory)) as file:
        file.touch(mode=0o600)
        file.write_bytes(_STATE.dump_json(state, indent=2))


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[bool]:
    """Hold the directory's lock while inside; yield False when another process has it.

    The kernel frees it when the holder ends, in whatever way.

    Raises:
        StackError: the directory belongs to another user.
    """
    try:
        descriptor = os.open(directory / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        raise StackError(_NOT_OURS.format(directory)) from None
    _descriptors.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        _descriptors.discard(descriptor)
        os.close(descriptor)


_descriptors: set[int] = set()


def _let_go_in_child() -> None:
    while _descriptors:
        os.close(_descriptors.pop())


# Otherwise a process that the holder forked would keep the lock after the holder's death.
os.register_at_fork(after_in_child=_let_go_in_child)


def choose_ports(names: Iterable[str], remembered: Mapping[str, int]) -> dict[str, int]:
    """Return a free loopback port for each name, the remembered one where it still is free.

    Raises:
        StackError: loopback has no free port.
    """
    ports = dict(remembered)
    with contextlib.ExitStack() as held:  # all at once, so that no two names get the same port
        for name in names:
            ports[name] = _bind(held, remembered.get(name, 0))
    return ports


def _bind(held: contextlib.ExitStack, wanted: int) -> int:
    for port in (wanted, 0):
        candidate = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        # Servers set it too: a port whose last connections are in TIME_WAIT counts as free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            continue
        return int(candidate.getsockname()[1])
    raise StackError(f"No free TCP port on {LOOPBACK} for the local stack.")
