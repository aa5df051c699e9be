from pathlib import Path

from tests.support.servers.record import read_record, record_answer


def test_a_line_that_a_killed_server_left_torn_is_no_answer_and_spoils_no_other(
    tmp_path: Path,
) -> None:
    record = tmp_path / "answers"
    record_answer(str(record), "gs://b/a", "one")
    whole = record.read_bytes()
    for torn in range(1, len(whole) - 1):
        record.write_bytes(whole + whole[:torn])
        assert [answer.uri for answer in read_record(record)] == ["gs://b/a"]
        record_answer(str(record), "gs://b/c", "three")
        assert [answer.uri for answer in read_record(record)] == ["gs://b/a", "gs://b/c"]


def test_no_record_is_no_answers(tmp_path: Path) -> None:
    assert read_record(tmp_path / "answers") == []
