import ast
from pathlib import Path

import pytest

from tasks.core.database import connections
from tasks.core.database.connections import SCHEMA_VERSION
from tasks.core.database.statements import (
    PLACE,
    Identifier,
    Literal,
    Statements,
    quote_identifier,
    statements_of,
)
from tasks.core.errors import InvalidIndexName

registry_sql = statements_of("tasks.core.spaces.registry")
view_sql = statements_of("tasks.core.spaces.view")

ROOT = Path(connections.__file__).parents[3]
TABLES = {"images", "vectors"}


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("image_embeddings", '"image_embeddings"'),
        ("Köln ✈", '"Köln ✈"'),
        ('a"b', '"a""b"'),
        ('"; DROP TABLE t; --', '"""; DROP TABLE t; --"'),
        ("a'b\\", '"a\'b\\"'),
        ("a.b", '"a.b"'),
        ("x" * 63, f'"{"x" * 63}"'),
        ("é" * 31 + "x", f'"{"é" * 31}x"'),
        ('"' * 63, '"' * 128),
    ],
    ids=ascii,
)
def test_a_name_is_quoted(name: str, quoted: str) -> None:
    assert quote_identifier(name) == quoted


@pytest.mark.parametrize("name", ["", "\0", "a\0b", "x" * 64, "é" * 32, "✈" * 22], ids=ascii)
def test_a_name_that_postgres_would_cut_or_refuse_is_refused(name: str) -> None:
    with pytest.raises(InvalidIndexName, match="1 to 63 bytes"):
        quote_identifier(name)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("m@001", "'m@001'"), ("a'b", "'a''b'"), ("'; DROP TABLE t; --", "'''; DROP TABLE t; --'")],
)
def test_a_text_is_quoted(text: str, quoted: str) -> None:
    assert str(Literal(text)) == quoted


def test_a_schema_and_its_name_are_quoted_apart() -> None:
    assert str(Identifier('ta"ble', "sche.ma")) == '"sche.ma"."ta""ble"'


def test_a_missing_part_is_an_error() -> None:
    with pytest.raises(KeyError, match="vectors"):
        registry_sql("count_rows")


def test_a_name_that_looks_like_a_place_is_not_filled_again() -> None:
    statement = view_sql(
        "replace_view",
        index=Identifier("{images}"),
        images=Identifier("{model}", "birdwalk"),
        vectors=Identifier("{vectors}", "birdwalk"),
        extension=Identifier("public"),
        model=Literal("{index}"),
    )
    assert 'VIEW public."{images}" AS' in statement
    assert 'FROM "birdwalk"."{model}"' in statement
    assert "'{index}'::text" in statement


def calls_of_sql() -> list[tuple[str, str, str, set[str]]]:
    """Return where statements are asked for: the file, the statement's name, and its parts."""
    calls = []
    for path in [*ROOT.glob("tasks/**/*.py"), *ROOT.glob("flows/**/*.py")]:
        files: dict[str, str] = {}
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=asked)],
                    value=ast.Call(func=ast.Name(id="statements_of"), args=[module]),
                ):
                    here = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                    files[asked] = str(module.value) if isinstance(module, ast.Constant) else here
                case ast.Call(func=ast.Name(id=asked), args=[first, *_]) if asked in files:
                    place = f"{path.name}:{node.lineno}"
                    parts = {keyword.arg or "**" for keyword in node.keywords}
                    calls += [(place, files[asked], name, parts) for name in names_in(first)]
    return calls


def names_in(argument: ast.expr) -> list[str]:
    """Return the names that an argument may have."""
    match argument:
        case ast.Constant(str(name)):
            return [name]
        case ast.IfExp(body=one, orelse=other):
            return [*names_in(one), *names_in(other)]
    return []


def test_every_place_of_every_statement_is_filled_by_its_callers() -> None:
    calls = calls_of_sql()
    assert len(calls) > 100
    for where, file, name, parts in calls:
        places = set(PLACE.findall(statements_of(file).read(name)))
        if "**" in parts:
            # space.tables, of which a statement may need but one.
            assert parts - {"**"} == places - TABLES != places, where
        else:
            assert parts == places, where


def test_every_statement_has_a_caller() -> None:
    called = {(file, name) for _, file, name, _ in calls_of_sql()}
    versions = [f"version_{number}" for number in range(1, SCHEMA_VERSION + 1)]
    called |= {("tasks.core.database.schema", name) for name in ("create_schema", *versions)}
    files = [path.relative_to(ROOT).with_suffix("") for path in ROOT.glob("tasks/**/*.sql")]
    modules = [".".join(file.parts) for file in files]
    assert {(module, name) for module in modules for name in statements_of(module)} == called


def test_a_statement_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"registry\.sql has no statement called count_row\."):
        registry_sql("count_row")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-- name: one\nSELECT 1\n\n-- name: one\nSELECT 2\n", "two statements called one"),
        ("SELECT 0\n-- name: one\nSELECT 1\n", "begins with something else"),
    ],
)
def test_a_file_that_cannot_be_meant_is_an_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Statements("some.sql", text)
