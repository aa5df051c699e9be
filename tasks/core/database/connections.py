"""Reach Postgres: connections with pgvector's types, and birdwalk's own tables.

pgvector's Python package is followed in its order: extension, register, table, binary COPY, index,
ANALYZE. The extension may live in any schema; connections find it through their search path.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from pgvector.asyncpg import register_vector

from tasks.core.database.errors import READER_NEEDS, WRITER_NEEDS, translated
from tasks.core.database.statements import LONGEST_NAME, quote_identifier, statements_of
from tasks.core.errors import (
    DatabaseError,
    DatabaseUnavailable,
    ExtensionMissing,
    LockTimeout,
    UnknownIndex,
)
from tasks.core.settings import Settings

sql = statements_of(__name__)
schema = statements_of("tasks.core.database.schema")

Connection: TypeAlias = Any
"""An asyncpg connection or its proxy from a pool; asyncpg's stubs do not unite the two."""

SCHEMA_VERSION = 1
"""The last of the numbered statements in schema.sql."""

OLDEST_PGVECTOR = (0, 8, 0)
"""Iterative scans and halfvec came with 0.8.0."""

LOST_MACHINE_SETTINGS = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # Where something was sent that nobody has acknowledged, no probes are.
    "tcp_user_timeout": "30000",
}
"""Let Postgres end a session within half a minute when its machine is lost; the system's own time
is two hours. They have no effect on a Unix socket."""

WRITER_SETTINGS = {"lock_timeout": "60s"}
"""Longer than the session of a lost machine keeps its locks."""

READER_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "30s"}
READER_PATIENCE_SECONDS = 10.0
"""A page's reader waits for a connection; a run can wait as long as the driver does."""

READER_COMMAND_SECONDS = 35.0
"""Behind the server's own limit: what passes it is a server that does not answer at all."""


class Database:
    """Connections to one database; all that come out have pgvector's types registered.

    Args:
        settings: where it is.
        read_only: whether its connections may write.
        name: of its sessions, as others see them in pg_stat_activity.
    """

    def __init__(
        self, settings: Settings, *, read_only: bool = False, name: str = "birdwalk"
    ) -> None:
        self._settings = settings
        self._read_only = read_only
        self._name = name[:LONGEST_NAME]
        self._needs = READER_NEEDS if read_only else WRITER_NEEDS
        self._pool: asyncpg.Pool | None = None
        self._extension_schema: str | None = None

    @property
    def extension_schema(self) -> str:
        """The schema that pgvector is in."""
        return self._extension_schema or "public"

    async def open(self) -> None:
        """Connect, and make birdwalk's own tables where they are missing and may be written.

        Raises:
            DatabaseUnavailable: the server cannot be reached.
            DatabaseError: the user may not create the schema, or not read it, or the tables are of
                a newer birdwalk.
            UnknownIndex: there is nothing to read.
        """
        with translated(self._needs):
            await self._open_pool()
            async with self.transaction() as connection:
                version = await _read_version(connection)
                if version < SCHEMA_VERSION and not self._read_only:
                    await _upgrade(connection)
        if self._read_only and (version == 0 or self._extension_schema is None):
            raise UnknownIndex("This database holds no index yet. Run embed-images on a bucket.")

    async def close(self) -> None:
        """Give up all connections."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _open_pool(self) -> None:
        await self.close()  # what an attempt before left open
        probe = await self.connect(self._name)
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
                # Everything else is named with its schema.
                "search_path": quote_identifier(self.extension_schema),
                **self._session_settings(self._name),
            },
            **self._patience,
        )

    def _session_settings(self, name: str) -> dict[str, str]:
        kind = READER_SETTINGS if self._read_only else WRITER_SETTINGS
        return {"application_name": name[:LONGEST_NAME], **LOST_MACHINE_SETTINGS, **kind}

    @property
    def _patience(self) -> dict[str, float]:
        if not self._read_only:
            return {}
        return {"timeout": READER_PATIENCE_SECONDS, "command_timeout": READER_COMMAND_SECONDS}

    async def connect(self, application_name: str) -> Connection:
        """Return a connection of its own, outside the pool, under a name that others can see."""
        try:
            return await asyncpg.connect(
                self._settings.database_url.get_secret_value(),
                server_settings=self._session_settings(application_name),
                **self._patience,
            )
        except ValueError as error:
            # Never the address itself: it may hold a password.
            raise DatabaseError(
                "BIRDWALK_DATABASE_URL cannot be read: expected"
                " postgresql://user:password@host:port/database."
            ) from error

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
    async def undone(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that is rolled back where the block ends."""
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            finally:
                await transaction.rollback()

    @asynccontextmanager
    async def _lend(self, *, in_transaction: bool) -> AsyncIterator[Connection]:
        if self._pool is None:
            raise DatabaseUnavailable("The database is not open.")
        # It bounds the way back into the pool too, where a dead connection is found out.
        patience = READER_PATIENCE_SECONDS if self._read_only else None
        try:
            with translated(self._needs):
                async with self._pool.acquire(timeout=patience) as connection:
                    if not in_transaction:
                        yield connection
                        return
                    async with connection.transaction():
                        yield connection
        except LockTimeout as error:
            raise LockTimeout(f"{error} {await self._name_the_oldest()}") from error

    async def _name_the_oldest(self) -> str:
        """Return a sentence about the session that most likely holds what was waited for."""
        async with self.connection() as connection:
            row = await connection.fetchrow(sql("select_oldest_transaction"))
        if row is None:
            return "No other session of birdwalk has a transaction open: look into pg_locks."
        return (
            f"The oldest open transaction is of {row['application_name']!r}, since"
            f" {row['xact_start']:%Y-%m-%d %H:%M:%S} UTC. Wait for it, or end it, and run again."
        )

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
        if self._extension_schema is None:
            with translated():
                await self._open_pool()
        return version


async def _read_version(connection: Connection) -> int:
    """Return the version of birdwalk's tables; 0 where there are none.

    Raises:
        DatabaseError: they are of a newer birdwalk, or of one that was never released.
    """
    found = await connection.fetchrow(sql("select_version"))
    if not found["has_version"]:
        if found["has_tables"]:
            raise DatabaseError(
                "The schema birdwalk of this database was made before the first release. Drop it"
                " (DROP SCHEMA birdwalk CASCADE) and run again: the index is filled anew."
            )
        return 0
    version: int = await connection.fetchval(sql("select_schema_version"))
    if version > SCHEMA_VERSION:
        raise DatabaseError(
            f"The schema birdwalk of this database is of version {version}, and this birdwalk knows"
            f" {SCHEMA_VERSION}: a newer birdwalk has been here. Update this one, and run again."
        )
    return version


async def _upgrade(connection: Connection) -> None:
    """Apply the numbered statements that the database has not seen, in their order."""
    # Two first runs at once must not both create the schema.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('birdwalk'))")
    await connection.execute(schema("create_schema"))
    for version in range(await _read_version(connection) + 1, SCHEMA_VERSION + 1):
        await connection.execute(schema(f"version_{version}"))
        await connection.execute(sql("insert_schema_version"), version)


@asynccontextmanager
async def without_nested_loops(connection: Connection) -> AsyncIterator[None]:
    """Let what is joined in the block be hashed or sorted, inside the caller's transaction.

    Where Postgres takes a large set for a few rows, it would compare each row with each.
    """
    before = await connection.fetchval("SELECT current_setting('enable_nestloop')")
    await connection.execute("SET LOCAL enable_nestloop = off")
    yield
    await connection.execute("SELECT set_config('enable_nestloop', $1, true)", before)


@asynccontextmanager
async def open_database(
    settings: Settings, *, read_only: bool = False, name: str = "birdwalk"
) -> AsyncIterator[Database]:
    """Yield an open database, birdwalk's own tables in it.

    With `read_only` nothing is made, and nothing can be written by its connections: a user who may
    only read birdwalk's schema will do.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
        DatabaseError: the user may not create the schema, or not read it.
        UnknownIndex: nothing may be made, and there is nothing to read.
    """
    database = Database(settings, read_only=read_only, name=name)
    try:
        await database.open()
        yield database
    finally:
        await database.close()
