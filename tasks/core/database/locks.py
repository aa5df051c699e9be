"""An advisory lock of Postgres, held by a session of its own: it is free when the session ends.

However that ends: a killed process closes its socket. A lost machine does not, and Postgres asks
after it (LOST_MACHINE_SETTINGS); a lost network can end the session behind its holder's back, who
asks for it too.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.core.database.connections import Connection, Database
from tasks.core.database.errors import translated
from tasks.core.database.statements import statements_of
from tasks.core.errors import DatabaseError, DatabaseUnavailable

sql = statements_of(__name__)

SECONDS_TO_ANSWER = 5.0
"""How long a session may take to answer before it is replaced; a slow server costs no more."""

SECONDS_TO_LET_GO = 10.0
"""How long Postgres may take to end a session that answers no more."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The session that holds a lock; Postgres does not tell everybody since when it exists."""

    pid: int
    application_name: str
    backend_start: datetime | None

    def __str__(self) -> str:
        """Return it as messages name it."""
        since = f" since {self.backend_start:%H:%M:%S}" if self.backend_start else ""
        return f"{self.application_name}{since}"


class SessionLock:
    """A lock, and the session that holds it once it was taken.

    Args:
        database: an open one.
        key: what is locked.
        name: of the session, as others see it.
    """

    def __init__(self, database: Database, key: str, name: str) -> None:
        self._database = database
        self._key = key
        self._name = name
        self._connection: Connection | None = None
        self._last: Holder | None = None
        self._asking = asyncio.Lock()

    async def ask(self, statement: str, *arguments: Any) -> Any:
        """Return the first value that a statement gives, asked by the session that holds the lock.

        What else the session holds, it holds as long as this lock.

        Raises:
            DatabaseUnavailable: there is no session, or it was lost.
        """
        async with self._asking:
            if self._connection is None:
                raise DatabaseUnavailable("The session that holds the lock was lost.")
            with translated():
                return await self._connection.fetchval(statement, *arguments)

    async def answers(self) -> bool:
        """Tell whether the lock is held: asked of the session, which may be lost unnoticed."""
        async with self._asking:
            if self._connection is None or self._connection.is_closed():
                return False
            try:
                with translated():
                    await self._connection.execute("SELECT", timeout=SECONDS_TO_ANSWER)
            except DatabaseError:
                self._connection.terminate()
                return False
        return True

    async def take(self) -> Holder | None:
        """Take the lock with a new session.

        Returns:
            Who else has it; None where it is ours now.

        Raises:
            DatabaseUnavailable: the server cannot be reached, or does not end our lost session.
        """
        with translated():
            connection = await self._database.connect(self._name)
            try:
                holder = await self._lock(connection)
            except BaseException:
                connection.terminate()
                raise
            if holder is not None:
                await connection.close()
                return holder
        self._connection = connection
        return None

    async def _lock(self, connection: Connection) -> Holder | None:
        deadline = time.monotonic() + SECONDS_TO_LET_GO
        while not await connection.fetchval(sql("take_lock"), self._key):
            holder = await find_holder(connection, self._key)
            if holder not in {None, self._last}:
                return holder
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    "Postgres does not end a session of ours that answers no more."
                )
            if holder is not None:
                # Our own of before: it answered us no more, or we it.
                await connection.execute(sql("terminate_session"), holder.pid)
            await asyncio.sleep(SECONDS_TO_LET_GO / 100)
        self._last = await find_holder(connection, self._key)
        return None

    async def release(self) -> None:
        """Let others have the lock."""
        if self._connection is not None and not self._connection.is_closed():
            # A server that died unnoticed has let go of the lock; the run's own error counts.
            with suppress(OSError):
                await self._connection.close(timeout=5)


async def find_holder(connection: Connection, key: str) -> Holder | None:
    """Return the session that holds a lock."""
    row = await connection.fetchrow(sql("select_holder"), key)
    return None if row is None else Holder(**row)
