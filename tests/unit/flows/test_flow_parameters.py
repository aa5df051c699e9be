import inspect
import sys
from dataclasses import asdict, fields
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema

from flows.check_index import check_index
from flows.embed_images import embed_images
from flows.embed_shard import embed_shard
from flows.find_duplicates import find_duplicates
from flows.find_similar import find_similar
from flows.rollback import rollback
from tasks.core.errors import InvalidInput
from tasks.core.models import MODELS, find_model
from tasks.core.runs.options import SyncOptions

FLOWS = [check_index, embed_images, embed_shard, find_duplicates, find_similar, rollback]
SCHEMA = parameter_schema(embed_images.fn)
BOUNDS = {"enum", "const", "minimum", "maximum", "minLength", "maxLength", "pattern", "format"}
PARAMETERS = list(SCHEMA.properties)
CHANGED: dict[Any, Any] = {int: 7, int | None: 8, float: 0.7, bool: True}
"""A value that is no parameter's default, by the type of the field."""


def choices(name: str) -> list[dict[str, Any]]:
    """Return the forms a parameter may take, null left out."""
    field = SCHEMA.properties[name]
    return [form for form in field.get("anyOf", [field]) if form.get("type") != "null"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_is_described_in_the_form(name: str) -> None:
    assert len(SCHEMA.properties[name].get("description", "")) > 10


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_has_bounds_or_choices(name: str) -> None:
    for form in choices(name):
        assert form.get("type") == "boolean" or BOUNDS & form.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_number_is_bounded_below(name: str) -> None:
    for form in choices(name):
        if form.get("type") in {"integer", "number"}:
            assert {"minimum", "enum"} & form.keys()


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_no_parameter_is_a_const_which_the_forms_show_as_free_text(flow: Flow[..., Any]) -> None:
    fields = parameter_schema(flow.fn).properties
    assert "'const'" not in str(fields)


def test_only_the_bucket_must_be_named() -> None:
    assert SCHEMA.required == ["bucket"]


def test_the_choices_are_those_of_the_models() -> None:
    (model,), (dimension,) = choices("model"), choices("dimension")
    assert model["enum"] == list(MODELS)
    assert set(dimension["enum"]) == {d for m in MODELS.values() for d in m.dimensions}


def test_the_flows_defaults_are_the_options_defaults() -> None:
    parameters = inspect.signature(embed_images.fn).parameters
    options = SyncOptions(bucket="b")
    for name, parameter in parameters.items():
        if name != "bucket" and hasattr(options, name):
            assert parameter.default == getattr(options, name)
    find_model(options.model, options.dimension)


GOOD: dict[str, Any] = {"bucket": "planes"}


def test_good_values_pass() -> None:
    values = {
        "prefix": "2026/",
        "index": "photos",
        "model": "multimodalembedding@001",
        "dimension": 1408,
        "limit": 1,
        "query": "a.jpg",
        "neighbours": 100,
        "requests_per_minute": 120,
        "batch_size": 5000,
    }
    validated = embed_images.validate_parameters(GOOD | values)
    assert {name: validated[name] for name in values} == values


@pytest.mark.parametrize(
    "bad",
    [
        {"bucket": ""},
        {"bucket": "b" * 223},
        {"bucket": None},
        {"prefix": "p" * 1025},
        {"index": ""},
        {"index": "i" * 64},
        {"model": "multimodalembedding"},
        {"dimension": 127},
        {"dimension": "128"},
        {"limit": 0},
        {"limit": 1.5},
        {"query": ""},
        {"query": "q" * 1025},
        {"neighbours": 0},
        {"neighbours": 101},
        {"requests_per_minute": 0},
        {"requests_per_minute": "fast"},
        {"batch_size": 0},
        {"batch_size": 5001},
        {"shards": 0},
        {"shards": 65},
        {"plan_only": "perhaps"},
        {"max_deletions": 1.1},
        {"max_refusals": -0.1},
        {"max_leftovers": 1.01},
        {"max_price": -1},
    ],
    ids=lambda bad: ascii(bad)[:40],
)
def test_bad_values_are_refused_before_the_run(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(ParameterTypeError, match=name):
        embed_images.validate_parameters(GOOD | bad)


async def test_each_parameter_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[SyncOptions] = []

    def watched_run(options: SyncOptions) -> None:
        opened.append(options)
        raise InvalidInput("far enough")

    monkeypatch.setattr(sys.modules["flows.embed_images"], "watched_run", watched_run)
    values = {
        field.name: CHANGED.get(field.type, f"another {field.name}")
        for field in fields(SyncOptions)
    } | {"model": "multimodalembedding@001", "dimension": 512, "crop": "subject"}
    with pytest.raises(InvalidInput, match="far enough"):
        await embed_images.fn(**values)
    assert [asdict(options) for options in opened] == [values]
