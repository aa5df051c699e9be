"""A flow's signature, read from its source, is the one that Prefect sees."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from flows.terminal.signature import read_docstring, read_signature

FLOWS = (
    "check_index",
    "drop_space",
    "embed_images",
    "embed_shard",
    "find_duplicates",
    "find_similar",
    "rollback",
)


@pytest.mark.parametrize("name", FLOWS)
def test_what_is_read_is_what_is_imported(name: str) -> None:
    read = read_signature(f"flows.{name}", name)
    flow = getattr(import_module(f"flows.{name}"), name)
    found, real = (inspect.signature(function) for function in (read, flow.fn))
    assert list(map(str, found.parameters.values())) == list(map(str, real.parameters.values()))
    assert read.__doc__ == flow.fn.__doc__
    assert read_docstring(f"flows.{name}", name) == inspect.getdoc(flow.fn)


SOURCE = """
import no_such_package
from typing import Annotated
from decimal import Decimal
Length = Annotated[Decimal, "metres"]
Wing = tuple[Length, Length]

@no_such_package.flow
async def fly(*, wings: Wing | None = None) -> no_such_package.State:
    'Fly.'
    raise ValueError
"""


def test_only_what_the_parameters_name_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flying.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    fly = read_signature("flying", "fly")
    assert "Decimal" in str(inspect.signature(fly))
    assert fly.__doc__ == "Fly."


async def test_what_is_read_does_nothing() -> None:
    drop_space: Any = read_signature("flows.drop_space", "drop_space")
    assert await drop_space(space=1) is None


@pytest.mark.parametrize(("module", "name"), [("flows.nothing", "x"), ("flows.rollback", "x")])
def test_a_flow_that_is_not_there_is_said(module: str, name: str) -> None:
    with pytest.raises(LookupError, match=r"There is no (module|function)"):
        read_signature(module, name)
