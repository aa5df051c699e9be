"""Say Postgres's errors as ours: asyncpg's, and those of the socket below it."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from tasks.core.errors import DatabaseError, DatabaseUnavailable, LockTimeout

WRITER_NEEDS = (
    "It needs CREATE on the database and on the schema public (and cloudsqlsuperuser once, for the"
    " extension on Cloud SQL)."
)
READER_NEEDS = "It needs USAGE on the schema birdwalk, and SELECT on the tables in it."


@contextmanager
def translated(needs: str = WRITER_NEEDS) -> Iterator[None]:  # noqa: C901 - one table of errors
    """Turn asyncpg's and the socket's errors into DatabaseErrors: the one place that does.

    `needs` says which privileges the user must have.
    """
    try:
        yield
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # what a connection says that died while it was idle
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.TooManyConnectionsError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # a file of ours, not Postgres's socket
        if isinstance(error, ValueError) and not isinstance(
            error, asyncpg.ClientConfigurationError
        ):
            raise DatabaseError(f"A value does not fit the database: {error}") from error
        raise DatabaseUnavailable(
            "Postgres cannot be reached or closed the connection:"
            f" {str(error) or type(error).__name__}. What was committed is safe. Check that it runs"
            " and that BIRDWALK_DATABASE_URL is right, and run again."
        ) from error
    except (asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError) as e:
        raise DatabaseError(
            f"Postgres refused the connection: {e}. Check BIRDWALK_DATABASE_URL."
        ) from e
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseError(f"The database user may not do this: {error}. {needs}") from error
    except asyncpg.DiskFullError as error:
        raise DatabaseError(
            f"Postgres has no room: {error}. Enlarge its disk and run again."
        ) from error
    except asyncpg.LockNotAvailableError as error:
        raise LockTimeout("A lock was waited for in vain: nothing was changed.") from error
    except asyncpg.DeadlockDetectedError as error:
        # The other transaction has its way now, so another attempt will find it gone.
        raise DatabaseUnavailable(
            f"Postgres cancelled one of two transactions that waited for each other: {error}."
            " Nothing of it was done; run again."
        ) from error
    except asyncpg.QueryCanceledError as error:
        if "user request" in str(error):
            # Nobody cancels our statements but a server that is on its way down.
            raise DatabaseUnavailable(f"Postgres cancelled a statement: {error}.") from error
        raise DatabaseError(f"Postgres: {error}") from error
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"Postgres: {error}") from error
