from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from tasks.core.database.connections import Database
from tasks.core.database.errors import translated
from tasks.core.errors import BirdwalkError, DatabaseError, DatabaseUnavailable, LockTimeout
from tasks.core.settings import Settings


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.ConnectionFailureError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.CrashShutdownError("x"),
        asyncpg.TooManyConnectionsError("x"),
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
        (
            asyncpg.InvalidPasswordError("x"),
            "refused the connection: x. Check BIRDWALK_DATABASE_URL",
        ),
        (asyncpg.InvalidCatalogNameError("x"), "refused the connection: x. Check"),
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
    # Nothing is gained by asking again.
    with pytest.raises(DatabaseError, match="BIRDWALK_DATABASE_URL cannot be read") as caught:
        await Database(Settings(database_url=SecretStr(url))).open()
    assert not isinstance(caught.value, DatabaseUnavailable)
    assert url not in str(caught.value)


def test_a_statement_that_a_server_cancels_on_its_way_down_is_a_lost_connection() -> None:
    said = "canceling statement due to user request"
    with pytest.raises(DatabaseUnavailable, match=said), translated():
        raise asyncpg.QueryCanceledError(said)


def test_a_transaction_that_a_deadlock_ended_may_be_tried_again() -> None:
    with pytest.raises(DatabaseUnavailable, match="waited for each other"), translated():
        raise asyncpg.DeadlockDetectedError("deadlock detected")


def test_a_lock_that_was_waited_for_in_vain_is_no_lost_connection() -> None:
    with pytest.raises(LockTimeout, match="nothing was changed") as caught, translated():
        raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
    assert not isinstance(caught.value, DatabaseUnavailable)
