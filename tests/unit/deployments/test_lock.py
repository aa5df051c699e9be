import pytest

from deployments.lock import added, read_pins

TEXT = """\
# a header
asyncpg==0.32.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:cc
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
uvicorn[standard]==0.54.0 \\
    --hash=sha256:ee
"""


def test_pins_are_read_with_their_markers_and_hashes() -> None:
    pins = read_pins(TEXT)
    assert [(pin.name, pin.marker) for pin in pins] == [
        ("asyncpg", ""),
        ("numpy", "python_full_version < '3.12'"),
        ("numpy", "python_full_version >= '3.12'"),
        ("uvicorn", ""),
    ]
    assert pins[0].text.endswith("--hash=sha256:bb")
    assert "# a header\n" + "".join(f"{pin.text}\n" for pin in pins) == TEXT


def test_a_requirement_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Not a pinned requirement: 'numpy>=2'"):
        read_pins("asyncpg==0.32.0 \\\n    --hash=sha256:aa\nnumpy>=2\n")


def test_only_what_the_files_before_do_not_install_is_added() -> None:
    before = read_pins("a==1\nb==1 ; python_version < '3.12'\n")
    pins = read_pins("a==1\na==1 ; sys_platform == 'linux'\nb==1 ; python_version < '3.12'\nc==1\n")
    assert [pin.name for pin in added(pins, before)] == ["c"]


def test_what_was_installed_somewhere_is_added_where_it_is_needed_more_widely() -> None:
    before = read_pins("b==1 ; python_version < '3.12'\n")
    assert added(read_pins("b==1\n"), before) == read_pins("b==1\n")
