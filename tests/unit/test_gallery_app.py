"""The gallery is guarded as it is bound, and keeps no record of addresses."""

import httpx
import pytest
from pydantic import SecretStr

from deployments.gallery import __main__ as program
from deployments.gallery.app import make_app
from tasks.core.errors import InvalidInput
from tasks.core.settings import Settings

TOKEN = "correct-horse-battery"  # noqa: S105 - of this test alone
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it
OPEN, CLOSED = Settings(), Settings(gallery_token=SecretStr(TOKEN))


async def status(settings: Settings, host: str, name: str, token: str = "") -> int:
    """Return what the gallery bound to a host says to whoever asks for it by a name."""
    transport = httpx.ASGITransport(make_app(settings, "photos", host))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{name}") as visitor:
        return (await visitor.get("/static/gallery.js", headers=headers)).status_code


async def test_without_a_token_it_answers_to_this_machines_names_alone() -> None:
    assert await status(OPEN, "127.0.0.1", "localhost:4280") == 200
    assert await status(OPEN, "127.0.0.1", "evil.example") == 421


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
async def test_with_a_token_it_answers_by_any_name_to_who_shows_it(host: str) -> None:
    assert await status(CLOSED, host, "gallery.example") == 401
    assert await status(CLOSED, host, "gallery.example", "wrong") == 401
    assert await status(CLOSED, host, "gallery.example", TOKEN) == 200


def test_it_is_not_bound_to_others_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(host: str, _port: int) -> None:
        pytest.fail(f"bound to {host}")

    monkeypatch.setattr(program, "bind", bind)
    with pytest.raises(InvalidInput, match="it needs a token"):
        program.serve(OPEN, "photos", EVERYWHERE, 0)


def test_no_address_is_logged_since_it_may_hold_the_token() -> None:
    assert not program.make_server(CLOSED, "photos", "127.0.0.1").config.access_log
