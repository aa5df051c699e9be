import ast
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from tasks.core import postgres
from tasks.core.errors import BirdwalkError, DatabaseError, DatabaseUnavailable, InvalidIndexName
from tasks.core.postgres import SCHEMA_STATEMENTS, Database
from tasks.core.settings import Settings
from tasks.core.statements import PLACE, Identifier, Literal, quote_identifier, sql
from tasks.core.translation import translated

ROOT = Path(postgres.__file__).parents[2]
STATEMENTS = {path.stem: path.read_text("utf-8") for path in ROOT.glob("tasks/core/sql/*.sql")}


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
    with pytest.raises(KeyError, match="table"):
        sql("count_rows")


def test_a_name_that_looks_like_a_place_is_not_filled_again() -> None:
    statement = sql(
        "create_view",
        index=Identifier("{table}"),
        table=Identifier("{model}", "birdwalk"),
        model=Literal("{index}"),
    )
    assert 'VIEW public."{table}" AS' in statement
    assert 'FROM "birdwalk"."{model}"' in statement
    assert "'{index}'::text" in statement


def calls_of_sql() -> list[tuple[str, str, set[str]]]:
    """Return where sql() is called, the statement's name, and the parts it is given."""
    calls = []
    for path in [*ROOT.glob("tasks/**/*.py"), *ROOT.glob("flows/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="sql"), args=[ast.Constant(str(name))]):
                    parts = {keyword.arg or "**" for keyword in node.keywords}
                    calls.append((f"{path.name}:{node.lineno}", name, parts))
    return calls


def test_every_place_of_every_statement_is_filled_by_its_callers() -> None:
    calls = calls_of_sql()
    assert len(calls) > 20
    for where, name, parts in calls:
        assert name in STATEMENTS, where
        assert parts == set(PLACE.findall(STATEMENTS[name])), where


def test_every_statement_has_a_caller() -> None:
    called = {name for _, name, _ in calls_of_sql()} | set(SCHEMA_STATEMENTS)
    assert set(STATEMENTS) == called


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.ConnectionFailureError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.CrashShutdownError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.InvalidPasswordError("x"),
        asyncpg.InvalidCatalogNameError("x"),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionRefusedError("x"),
        ConnectionResetError("x"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_is_database_unavailable(error: Exception) -> None:
    with pytest.raises(DatabaseUnavailable, match="BIRDWALK_DATABASE_URL") as caught, translated():
        raise error
    assert caught.value.__cause__ is error


def test_an_error_without_words_is_named() -> None:
    with pytest.raises(DatabaseUnavailable, match=r"the connection: TimeoutError\."), translated():
        raise TimeoutError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (asyncpg.InsufficientPrivilegeError("x"), "needs CREATE on the database"),
        (asyncpg.DiskFullError("x"), "no room"),
        (asyncpg.UniqueViolationError("twice"), "twice"),
        (asyncpg.DependentObjectsStillExistError("a view"), "a view"),
        (asyncpg.QueryCanceledError("x"), "x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_postgres_refuses_is_no_lost_connection(error: Exception, message: str) -> None:
    with pytest.raises(DatabaseError, match=message) as caught, translated():
        raise error
    assert not isinstance(caught.value, DatabaseUnavailable)


@pytest.mark.parametrize("error", [BirdwalkError("ours"), LookupError("a bug")])
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated():
        raise error
    assert caught.value is error


def test_a_value_that_does_not_fit_is_no_lost_connection() -> None:
    with pytest.raises(BirdwalkError) as caught, translated():
        raise asyncpg.exceptions._base.DataError("invalid input for query argument $1: 2**63")
    assert not isinstance(caught.value, DatabaseUnavailable)


def test_a_full_disk_of_ours_is_no_lost_connection(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="No such file") as caught, translated():
        (tmp_path / "missing" / "part.csv").read_bytes()
    assert not isinstance(caught.value, DatabaseUnavailable)


@pytest.mark.parametrize("url", ["postgresql://u@localhost:port/db", "postgresql://u@[::1/db"])
async def test_a_malformed_address_names_the_setting(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="BIRDWALK_DATABASE_URL cannot be read"):
        await Database(Settings(database_url=SecretStr(url))).open()
