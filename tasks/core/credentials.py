"""Find Google's credentials for the model, and say what to do where there are none."""

import asyncio
from typing import Any

import google.auth
from google.auth.exceptions import GoogleAuthError

from tasks.core.errors import SystemicFailure

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


async def find_credentials() -> tuple[Any, str | None]:
    """Return the credentials of this machine or user, and the project that they name.

    Raises:
        SystemicFailure: there are none.
    """
    try:
        # It blocks: outside of Google Cloud it waits some seconds for a metadata server.
        return await asyncio.to_thread(google.auth.default, scopes=SCOPES)
    except GoogleAuthError as error:
        raise credentials_failure(error) from error


def credentials_failure(error: GoogleAuthError) -> SystemicFailure:
    """Return the failure that says what to do about missing or dead credentials."""
    return SystemicFailure(
        f"No usable Google credentials: {error} Run gcloud auth application-default login, or"
        " give the worker a service account."
    )
