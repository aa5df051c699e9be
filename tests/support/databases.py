"""Databases that live for one test, made from a template, and questions asked of them."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from deployments.local.addresses import PROJECT
from deployments.local.stack import Stack
from tasks.core.database.connections import Database
from tasks.core.settings import Settings

TEMPLATE = "birdwalk_template"
BEGAN = "SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'"


def address_of(url: str, database: str) -> str:
    """Return the address of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def secret(url: str) -> SecretStr:
    return SecretStr(url)


def settings_for(stack: Stack, url: str, directory: Path) -> Settings:
    """Return settings for a stack and a database; files go under the directory."""
    return Settings(
        database_url=secret(url),
        project=PROJECT,
        storage_endpoint=stack.addresses.storage_endpoint,
        vertex_endpoint=stack.addresses.vertex_endpoint,
        data_directory=directory,
        request_timeout_seconds=30.0,
        image_time_budget_seconds=60.0,
    )


async def make_template(url: str) -> None:
    """Make the template: the extension and birdwalk's own tables, nothing in them.

    The server stops waiting for the disk: a hundred databases come and go, and no test pulls the
    plug. What a killed server keeps does not depend on it.
    """
    await execute(url, "ALTER SYSTEM SET fsync = off")
    await execute(url, "SELECT pg_reload_conf()")
    await execute(url, f'CREATE DATABASE "{TEMPLATE}"')
    database = Database(Settings(database_url=secret(address_of(url, TEMPLATE))))
    await database.open()
    await database.ensure_extension()
    await database.close()


@asynccontextmanager
async def fresh_database(url: str, template: str = TEMPLATE) -> AsyncIterator[str]:
    """Yield the address of a new database of the server, and drop it afterwards."""
    name = f"test_{secrets.token_hex(4)}"
    await execute(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield address_of(url, name)
    finally:
        await execute(url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def execute(url: str, statement: str, *arguments: object) -> str:
    """Run a statement on a connection of its own; return its command tag."""
    connection = await asyncpg.connect(url)
    try:
        tag: str = await connection.execute(statement, *arguments)
    finally:
        await connection.close()
    return tag


async def fetch(url: str, question: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Return a question's rows as tuples; vectors come as text."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(question, *arguments)]
    finally:
        await connection.close()


async def fetchval(url: str, question: str, *arguments: object) -> Any:
    """Return the first column of a question's first row."""
    rows = await fetch(url, question, *arguments)
    return rows[0][0] if rows else None


async def postgres_began_at(url: str) -> Any:
    """Return when the server began, or began anew after the death of one of its processes."""
    return await fetchval(url, BEGAN)


async def postgres_began_anew(url: str, before: Any) -> bool:
    """Return whether it did since: it goes on for a moment after a death, until it notices."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return await postgres_began_at(url) not in {None, before}
    return False
