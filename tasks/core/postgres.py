"""Reach Postgres: connections, the statements in sql/, quoting, and the drivers' errors as ours.

pgvector's Python package is followed in its order: extension, register, table, binary COPY, index,
ANALYZE. The extension may live in any schema; connections find it through their search path.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

import asyncpg
from pgvector.asyncpg import register_vector

from tasks.core.errors import (
    DatabaseError,
    DatabaseUnavailable,
    ExtensionMissing,
    IndexBusy,
    InvalidIndexName,
)
from tasks.core.settings import Settings

Connection: TypeAlias = Any
"""An asyncpg connection or its proxy from a pool; asyncpg's stubs do not unite the two."""

OLDEST_PGVECTOR = (0, 8, 0)
"""Iterative scans and halfvec came with 0.8.0."""

PLACE = re.compile(r"\{(\w+)\}")

LONGEST_NAME = 63
"""Bytes of an identifier (NAMEDATALEN - 1); Postgres cuts longer ones silently."""

SCHEMA_STATEMENTS = (
    "create_schema",
    "create_runs",
    "create_spaces",
    "create_spaces_one_active",
    "create_objects",
    "create_pending",
    "create_batches",
    "create_refusals",
)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name to be quoted into a statement, with its schema where it has one."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        parts = (self.name,) if self.schema is None else (self.schema, self.name)
        return ".".join(quote_identifier(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A text to be quoted into a statement that takes no bound values (CREATE VIEW)."""

    text: str

    def __str__(self) -> str:
        return "'" + self.text.replace("'", "''") + "'"


def quote_identifier(name: str) -> str:
    """Return a name as a quoted Postgres identifier.

    Raises:
        InvalidIndexName: the name is empty, over 63 bytes, or holds a NUL.
    """
    if not name or "\0" in name or len(name.encode()) > LONGEST_NAME:
        raise InvalidIndexName(
            f"{name[:80]!r} cannot be a Postgres name: expected 1 to {LONGEST_NAME} bytes and no"
            " NUL. Choose a shorter name, such as image_embeddings."
        )
    return '"' + name.replace('"', '""') + '"'


@cache
def _read_statement(name: str) -> str:
    return resources.files("tasks.core.sql").joinpath(f"{name}.sql").read_text("utf-8")


def sql(name: str, /, **parts: Identifier | Literal | int) -> str:
    """Return the statement of sql/`name`.sql, its {places} filled with quoted parts."""
    return PLACE.sub(lambda place: str(parts[place[1]]), _read_statement(name))


@contextmanager
def translated() -> Iterator[None]:
    """Turn asyncpg's and the socket's errors into DatabaseErrors: the one place that does."""
    try:
        yield
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.TooManyConnectionsError,
        OSError,
    ) as error:
        raise DatabaseUnavailable(
            f"Postgres cannot be reached or closed the connection: {error or type(error).__name__}."
            " What was committed is safe. Check that it runs and that BIRDWALK_DATABASE_URL is"
            " right, and run again."
        ) from error
    except (asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError) as e:
        raise DatabaseUnavailable(
            f"Postgres refused the connection: {e}. Check BIRDWALK_DATABASE_URL."
        ) from e
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseError(
            f"The database user may not do this: {error}. It needs CREATE on the database and on"
            " the schema public (and cloudsqlsuperuser once, for the extension on Cloud SQL)."
        ) from error
    except asyncpg.DiskFullError as error:
        raise DatabaseError(
            f"Postgres has no room: {error}. Enlarge its disk and run again."
        ) from error
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"Postgres: {error}") from error


class Database:
    """Connections to one database; all that come out have pgvector's types registered."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool | None = None
        self._extension_schema: str | None = None

    async def open(self) -> None:
        """Connect and make birdwalk's own tables where they are missing.

        Raises:
            DatabaseUnavailable: the server cannot be reached.
            DatabaseError: the user may not create the schema.
        """
        with translated():
            await self._open_pool()
            async with self.transaction() as connection:
                # Two first runs at once must not both create the schema.
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext('birdwalk'))")
                for statement in SCHEMA_STATEMENTS:
                    await connection.execute(sql(statement))

    async def close(self) -> None:
        """Give up all connections."""
        if self._pool is not None:
            self._pool.terminate()

    async def _open_pool(self) -> None:
        probe = await self.connect("birdwalk")
        try:
            row = await probe.fetchrow(sql("select_extension"))
            self._extension_schema = row and row["schema"]
        finally:
            await probe.close()
        self._pool = await asyncpg.create_pool(
            self._settings.database_url.get_secret_value(),
            min_size=1,
            max_size=self._settings.database_connections,
            init=self._register,
            server_settings={
                "application_name": "birdwalk",
                "search_path": f"public, {quote_identifier(self._extension_schema or 'public')}",
            },
        )

    async def connect(self, application_name: str) -> Connection:
        """Return a connection of its own, outside the pool, under a name that others can see."""
        return await asyncpg.connect(
            self._settings.database_url.get_secret_value(),
            server_settings={"application_name": application_name[:LONGEST_NAME]},
        )

    async def _register(self, connection: Connection) -> None:
        if self._extension_schema is not None:
            await register_vector(connection, schema=self._extension_schema)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection; errors in the block come out as DatabaseErrors."""
        return self._lend(in_transaction=False)

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection inside a transaction: all of the block, or nothing of it."""
        return self._lend(in_transaction=True)

    @asynccontextmanager
    async def _lend(self, *, in_transaction: bool) -> AsyncIterator[Connection]:
        if self._pool is None:
            raise DatabaseUnavailable("The database is not open.")
        with translated():
            async with self._pool.acquire() as connection:
                if not in_transaction:
                    yield connection
                    return
                async with connection.transaction():
                    yield connection

    async def ensure_extension(self) -> str:
        """Create pgvector where it is missing; return its version.

        Raises:
            ExtensionMissing: the server does not offer it, or only one before 0.8.0.
        """
        async with self.transaction() as connection:
            # IF NOT EXISTS does not keep two first runs at once from both creating it.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('birdwalk'))")
            row = await connection.fetchrow(sql("select_extension"))
            if row is None:
                raise ExtensionMissing(
                    "This Postgres does not offer the vector extension. Install pgvector 0.8.0 or"
                    " later on the server (Cloud SQL has it), and run again."
                )
            if row["installed_version"] is None:
                await connection.execute(sql("create_extension"))
                row = await connection.fetchrow(sql("select_extension"))
        version = str(row["installed_version"])
        if tuple(map(int, version.split("."))) < OLDEST_PGVECTOR:
            raise ExtensionMissing(
                f"pgvector is {version}; 0.8.0 or later was expected. Run ALTER EXTENSION vector"
                " UPDATE as its owner, and run again."
            )
        if self._extension_schema is None and self._pool is not None:
            self._pool.terminate()
            with translated():
                await self._open_pool()
        return version


class IndexHold:
    """Keeps an index to one run at a time, by an advisory lock that dies with its holder."""

    def __init__(self, database: Database, index: str, holder: str) -> None:
        self._database = database
        self._index = index
        self._holder = holder
        self._connection: Connection | None = None

    async def take(self) -> None:
        """Hold the index; where the connection was lost since, hold it again.

        Raises:
            IndexBusy: another run holds it.
            DatabaseUnavailable: the server cannot be reached.
        """
        if self._connection is not None and not self._connection.is_closed():
            return
        with translated():
            connection = await self._database.connect(self._holder)
            if await connection.fetchval(sql("hold_index"), self._index):
                self._connection = connection
                return
            row = await connection.fetchrow(sql("select_holder"), self._index)
            await connection.close()
        holder = f"{row['application_name']} since {row['backend_start']:%H:%M:%S}" if row else "?"
        raise IndexBusy(
            f"Index {self._index!r} is held by another run ({holder}). Nothing was done. Wait for"
            " it to end, or cancel it."
        )

    async def release(self) -> None:
        """Let others have the index."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
