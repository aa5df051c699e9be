"""What the stack remembers and what it is asked for."""

import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.local import background
from deployments.local.addresses import Addresses, StackOptions
from deployments.local.errors import StackError
from deployments.local.processes.identity import Identity
from deployments.local.processes.state import (
    State,
    choose_ports,
    lock,
    read_state,
    state_file,
    write_state,
)
from deployments.local.vertex.options import ModelServerOptions

ADDRESSES = Addresses(
    database_url="postgresql://postgres@/birdwalk?host=%2Fsockets&port=1",
    database_tcp_url="postgresql://postgres:secret@127.0.0.1:1/birdwalk",
    storage_endpoint="http://127.0.0.1:2",
    vertex_endpoint="http://127.0.0.1:3",
    prefect_api_url="http://127.0.0.1:4/api",
    prefect_ui_url="http://127.0.0.1:4",
    data_directory=Path("/state/data"),
    prefect_home=Path("/state/prefect"),
)


def up(options: StackOptions) -> State:
    return State(
        supervisor=Identity.of(os.getpid()),
        options=options,
        addresses=ADDRESSES,
    )


def test_the_state_file_reads_back_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    state = replace(up(StackOptions(tmp_path)), failure="vertex ended", ports={"vertex": 3})
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert stat.S_IMODE(state_file(tmp_path).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"servers": 1}', b'{"ports": {"vertex": "x"}}'])
def test_a_state_file_that_makes_no_sense_is_an_empty_state(tmp_path: Path, content: bytes) -> None:
    state_file(tmp_path).write_bytes(content)
    assert read_state(tmp_path) == State()


def test_a_stack_whose_supervisor_is_gone_is_not_up(tmp_path: Path) -> None:
    state = up(StackOptions(tmp_path))
    assert state.up
    assert Addresses.of(state) == ADDRESSES
    gone = replace(state, supervisor=Identity(os.getpid(), 1.0))
    assert not gone.up
    with pytest.raises(StackError, match="not up"):
        Addresses.of(gone)


def test_a_port_is_used_again_while_it_is_free() -> None:
    first = choose_ports(["one", "two"], {})
    assert first["one"] != first["two"]
    assert choose_ports(["one", "two"], first) == first
    with socket.create_server(("127.0.0.1", first["one"])):
        second = choose_ports(["one", "two"], first)
    assert second["one"] != first["one"]
    assert second["two"] == first["two"]


def test_the_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    with lock(tmp_path) as first:
        assert first
        with lock(tmp_path) as second:
            assert not second
    with lock(tmp_path) as third:
        assert third


@pytest.mark.parametrize(
    "other",
    [
        {"bucket": "other"},
        {"pictures": Path("/pictures")},
        {"model": ModelServerOptions(requests_per_minute=600)},
        {"worker": True},
        {"gallery": True},
    ],
)
def test_a_stack_with_other_options_is_not_taken(tmp_path: Path, other: dict[str, object]) -> None:
    options = StackOptions(tmp_path)
    options.check_against(up(options))
    with pytest.raises(StackError, match="up with other options"):
        replace(options, **other).check_against(up(options))  # type: ignore[arg-type]  # real fields


def test_a_stack_with_more_servers_will_do(tmp_path: Path) -> None:
    more = StackOptions(tmp_path, worker=True, gallery=True)
    StackOptions(tmp_path).check_against(up(more))
    StackOptions(tmp_path, prefect=False).check_against(up(more))


def test_options_that_cannot_work_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for options, complaint in (
        (StackOptions(tmp_path, prefect=False, worker=True), "needs the Prefect server"),
        (StackOptions(tmp_path, pictures=tmp_path / "none"), "is not a folder"),
        (StackOptions(tmp_path / "file" / "state"), "cannot be made"),
    ):
        with pytest.raises(StackError, match=complaint):
            options.resolved()


def test_the_environment_keeps_proxies_away_from_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "internal.example")
    environment = ADDRESSES.environment()
    assert environment["NO_PROXY"] == "internal.example,127.0.0.1,localhost"
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4/api"
    assert "PREFECT_API_URL" not in replace(ADDRESSES, prefect_api_url=None).environment()


def test_the_background_process_gets_the_very_options(tmp_path: Path) -> None:
    model = ModelServerOptions(
        requests_per_minute=600,
        latency_seconds=0.15,
        latency_distribution="lognormal",
        error_rates={"UNAVAILABLE": 0.02},
        seed=7,
        denied=True,
        instant=True,
    )
    for options in (
        StackOptions(tmp_path, tmp_path, "mine", model, prefect=False),
        StackOptions(tmp_path, model=model, worker=True),
        StackOptions(tmp_path, gallery=True),
        StackOptions(tmp_path),
    ):
        assert background.OPTIONS.validate_json(background.OPTIONS.dump_json(options)) == options
