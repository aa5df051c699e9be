"""Ask a server on loopback one question over HTTP, as readiness checks do."""

import json
from typing import Any

import httpx

LOOPBACK = "127.0.0.1"
PROBE_SECONDS = 5.0


async def answers_ok(url: str) -> bool:
    """Tell whether a GET of the address answers 200."""
    # trust_env=False: a proxy from the environment cannot reach our loopback.
    async with httpx.AsyncClient(trust_env=False, timeout=PROBE_SECONDS) as client:
        try:
            return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


async def post_json(url: str, body: object) -> Any:
    """Return the JSON answer to a POST; None when the server does not answer 200."""
    async with httpx.AsyncClient(trust_env=False, timeout=PROBE_SECONDS) as client:
        try:
            response = await client.post(url, json=body)
        except httpx.TransportError:
            return None
    return json.loads(response.content) if response.status_code == httpx.codes.OK else None
