"""Run one program so that it ends when its supervisor does.

    python leash.py --grace SECONDS --signal NUMBER --supervisor PID [--account UID GID] -- ...

The supervisor gives a pipe as standard input and keeps its other end open. When that end closes,
on purpose or because the supervisor died in whatever way, the leash sends the signal to the
program's process group, waits for the grace period and kills what is left. The same happens when
the leash gets SIGTERM, SIGINT or SIGHUP, or when the program ends and leaves children behind.

The first line on standard output is the program's process id. The program's own output goes to
the leash's standard error. The exit status is the program's, or 128 + n when signal n ended it.

On Linux the leash adopts orphaned descendants (PR_SET_CHILD_SUBREAPER), so a grandchild that
left the process group does not escape, and the program gets the signal when the leash itself is
killed (PR_SET_PDEATHSIG). Elsewhere only the process group is ended.

Started by its path with `python -I -S`: the standard library is all it needs, and it takes no
part in the project's imports.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NoReturn

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A supervisor's pipe can stay open in a process it forked; its death then shows in our parent.
PARENT_CHECK_SECONDS = 1.0
KILL_SECONDS = 10.0


def prctl(option: int, value: int) -> None:
    """Set a property of this process; raise OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def become(options: argparse.Namespace, leash: int) -> NoReturn:
    """Turn the forked child into the program; never returns."""
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        if options.account:
            uid, gid = options.account
            os.setgroups([gid])
            os.setgid(gid)
            os.setuid(uid)
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        if LINUX:  # after setuid, which clears it
            prctl(PR_SET_PDEATHSIG, options.signal)
            if os.getppid() != leash:
                os._exit(128 + options.signal)
        signal.set_wakeup_fd(-1)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; programs must not
            signal.signal(ignored, signal.SIG_DFL)
        os.execvp(options.command[0], options.command)  # noqa: S606 - a shell is what we avoid
    except OSError as error:
        os.write(2, f"cannot run {options.command[0]}: {error}\n".encode())
    os._exit(127)


class Child:
    """The program and, on Linux, every descendant that came back to us."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def ended(self) -> bool:
        """Tell whether the program ended, without reaping it: its id stays ours until then."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def reap(self) -> int:
        """Return the program's exit status; call it once nothing will be signalled any more."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def adopted(self) -> list[int]:
        """Reap the adopted descendants that ended and return those that live."""
        if not LINUX:
            return []
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
        living = []
        for pid in map(int, children.split()):
            if pid == self.pid:
                continue
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    living.append(pid)
        return living

    def send(self, number: int) -> set[int]:
        """Signal the process group and every adopted descendant; return the latter."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        return self.send_adopted(number, frozenset())

    def send_adopted(self, number: int, told: AbstractSet[int]) -> set[int]:
        """Signal the adopted descendants that were not told yet; return all that live."""
        living = set(self.adopted())
        for pid in living - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return living

    def gone(self) -> bool:
        """Tell whether the program and all its adopted descendants ended."""
        return self.ended() and not self.adopted()


def end(child: Child, number: int, seconds: float) -> bool:
    """Send the signal, also to descendants adopted meanwhile; return whether all ended in time."""
    deadline = time.monotonic() + seconds
    told = child.send(number)
    while not child.gone():
        if time.monotonic() > deadline:
            return False
        told = child.send_adopted(number, told)
        time.sleep(0.01)
    return True


def watch(child: Child, wakeup: int, supervisor: int) -> None:
    """Return when the program ended, the supervisor is gone, or a signal asks for the end."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while not child.ended() and os.getppid() == supervisor:
        ready = {descriptor for descriptor, _ in poll.poll(PARENT_CHECK_SECONDS * 1000)}
        if wakeup in ready and set(os.read(wakeup, 512)) & set(END_SIGNALS):
            return
        if 0 in ready and not os.read(0, 512):
            return
        child.adopted()


def main() -> int:
    """Run the command line; see the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--account", type=int, nargs=2)
    # Told, not asked of the kernel: whoever is our parent when we ask may be its heir already.
    parser.add_argument("--supervisor", type=int, required=True)
    split = sys.argv.index("--")
    options = parser.parse_args(sys.argv[1:split])
    options.command = sys.argv[split + 1 :]

    wakeup, wakeup_end = os.pipe()
    os.set_blocking(wakeup_end, False)
    signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
    for number in (*END_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)

    leash = os.getpid()
    # Until the program has its own way with them: the leash's, which it inherits, would lose one.
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    pid = os.fork()
    if pid == 0:
        become(options, leash)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)  # both sides do it, so that neither can come too late
    child = Child(pid)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{pid}\n".encode())

    watch(child, wakeup, options.supervisor)
    if not end(child, options.signal, options.grace):
        end(child, signal.SIGKILL, KILL_SECONDS)
    if not LINUX:
        child.send(signal.SIGKILL)  # group members whose leader ended: they cannot be counted
    return child.reap()


if __name__ == "__main__":
    sys.exit(main())
