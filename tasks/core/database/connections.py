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
from tasks.core.errors import DatabaseUnavailable, ExtensionMissing, UnknownIndex
from tasks.core.settings import Settings

sql = statements_of(__name__)
schema_sql = statements_of("tasks.core.database.schema")

Connection: TypeAlias = Any
"""An asyncpg connection or its proxy from a pool; asyncpg's stubs do not unite the two."""

OLDEST_PGVECTOR = (0, 8, 0)
"""Iterative scans and halfvec came with 0.8.0."""

SCHEMA_STATEMENTS = (
    "create_schema",
    "create_runs",
    "create_runs_given_up",
    "create_spaces",
    "create_spaces_one_active",
    "create_spaces_measurement",
    "create_objects",
    "create_pending",
    "create_pending_error",
    "create_pending_twins",
    "create_batches",
    "create_batches_durable",
    "create_refusals",
)

READER_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "30s"}
READER_PATIENCE_SECONDS = 10.0
"""A page's reader waits for a connection; a run can wait as long as the driver does."""

READER_COMMAND_SECONDS = 35.0
"""Behind the server's own limit: what passes it is a server that does not answer at all."""


class Database:
    """Connections to one database; all that come out have pgvector's types registered."""

    def __init__(self, settings: Settings, *, read_only: bool = False) -> None:
        self._settings = settings
        self._read_only = read_only
        self._needs = READER_NEEDS if read_only else WRITER_NEEDS
        self._pool: asyncpg.Pool | None = None
        self._extension_schema: str | None = None

    async def open(self) -> None:
        """Connect, and make birdwalk's own tables where they are missing and may be written.

        Raises:
            DatabaseUnavailable: the server cannot be reached.
            DatabaseError: the user may not create the schema, or not read it.
            UnknownIndex: there is nothing to read.
        """
        with translated(self._needs):
            await self._open_pool()
            if self._read_only:
                await self._refuse_unprepared()
                return
            async with self.transaction() as connection:
                # Two first runs at once must not both create the schema.
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext('birdwalk'))")
                for statement in SCHEMA_STATEMENTS:
                    await connection.execute(schema_sql(statement))

    async def _refuse_unprepared(self) -> None:
        async with self.connection() as connection:
            prepared = await connection.fetchval(sql("select_is_prepared"))
        if self._extension_schema is None or not prepared:
            raise UnknownIndex("This database holds no index yet. Run embed-images on a bucket.")

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
                "search_path": self._search_path,
                **(READER_SETTINGS if self._read_only else {}),
            },
            **self._patience,
        )

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
                server_settings={"application_name": application_name[:LONGEST_NAME]},
                **self._patience,
            )
        except ValueError as error:
            # Never the address itself: it may hold a password.
            raise DatabaseUnavailable(
                "BIRDWALK_DATABASE_URL cannot be read: expected"
                " postgresql://user:password@host:port/database."
            ) from error

    @property
    def _search_path(self) -> str:
        return f"public, {quote_identifier(self._extension_schema or 'public')}"

    async def adopt(self, connection: Connection) -> None:
        """Make a connection of its own as those of the pool."""
        await connection.execute(f"SET search_path = {self._search_path}")
        await self._register(connection)

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
        # It bounds the way back into the pool too, where a dead connection is found out.
        patience = READER_PATIENCE_SECONDS if self._read_only else None
        with translated(self._needs):
            async with self._pool.acquire(timeout=patience) as connection:
                if not in_transaction:
                    yield connection
                    return
                async with connection.transaction():
                    yield connection

    async def analyze(self, statement: str) -> None:
        """Tell the planner of rows that were just written."""
        async with self.connection() as connection:
            await connection.execute(statement)

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
async def open_database(settings: Settings, *, read_only: bool = False) -> AsyncIterator[Database]:
    """Yield an open database, birdwalk's own tables in it.

    With `read_only` nothing is made, and nothing can be written by its connections: a user who may
    only read birdwalk's schema will do.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
        DatabaseError: the user may not create the schema, or not read it.
        UnknownIndex: nothing may be made, and there is nothing to read.
    """
    database = Database(settings, read_only=read_only)
    try:
        await database.open()
        yield database
    finally:
        await database.close()
