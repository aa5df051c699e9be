"""Addresses and places of the local Postgres."""

import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from deployments.local.errors import StackError
from deployments.local.postgres import home as postgres_home
from deployments.local.postgres import server as postgres
from deployments.local.postgres.home import PostgresHome, make_private
from deployments.local.prefect import server as prefect_server


def home(sockets: str) -> PostgresHome:
    return PostgresHome(Path("/binaries"), Path("/data"), Path(sockets), None)


@pytest.mark.parametrize("sockets", ["/tmp/birdwalk-1", "/with space/100%/a&b=c"])  # noqa: S108 - never made
def test_addresses_carry_any_socket_directory(sockets: str) -> None:
    for url in (
        postgres.database_url(home(sockets), 5433, "birdwalk"),
        prefect_server.sqlalchemy_url(home(sockets), 5433),
    ):
        parts = urlsplit(url)
        assert parts.username == "postgres"
        assert parts.path in {"/birdwalk", "/prefect"}
        assert parse_qs(parts.query) == {"host": [sockets], "port": ["5433"]}


@pytest.mark.parametrize("name", ["fine", "a,b", "a:b", "a%20", "long-" * 20])
def test_the_socket_directory_suits_kernel_and_drivers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"/temporary/{name}")
    directory = str(postgres_home._socket_directory(Path("/data")))
    assert len(os.fsencode(f"{directory}/.s.PGSQL.65535.lock")) <= 104
    assert not set(directory) & set(",:%")
    assert directory.startswith(f"/temporary/{name}/") == (name == "fine")


def test_two_data_directories_have_two_socket_directories() -> None:
    one, other = (postgres_home._socket_directory(Path(f"/data/{name}")) for name in "ab")
    assert one != other
    assert one == postgres_home._socket_directory(Path("/data/a"))


def test_a_private_directory_is_closed_again(tmp_path: Path) -> None:
    directory = tmp_path / "sockets"
    for _ in range(2):
        make_private(directory, None)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        directory.chmod(0o755)


def test_a_file_or_link_in_place_of_a_private_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(StackError, match="trusts only its own"):
            make_private(tmp_path / name, None)
