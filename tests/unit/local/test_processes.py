"""What is decided about processes without starting a server."""

import os
from pathlib import Path

from deployments.local.processes.identity import Identity
from deployments.local.processes.program import last_lines


def test_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert last_lines(log, 2) == "line 98\nline 99"


def test_a_log_that_is_empty_missing_or_not_text_is_no_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == "(the log is empty)"
    log.write_bytes(b"\n\n")
    assert last_lines(log) == "(the log is empty)"
    log.write_bytes(b"\xff broken")
    assert last_lines(log).endswith(" broken")


def test_a_process_is_itself_and_no_other() -> None:
    ours = Identity.of(os.getpid())
    assert ours is not None
    assert ours.alive()
    assert ours == Identity.of(os.getpid())
    assert not Identity(ours.pid, ours.started + 0.01).alive()


def test_an_id_that_nobody_has_is_no_process() -> None:
    assert Identity.of(2**30) is None
    assert not Identity(2**30, 1.0).alive()
