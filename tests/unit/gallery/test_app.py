"""The gallery is guarded as it is bound, and keeps no record of addresses."""

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import Message

from deployments.gallery import endpoints
from deployments.gallery import server as program
from deployments.gallery.app import make_app
from tasks.core.errors import InvalidInput, UnreadablePicture
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


@pytest.mark.parametrize(("proxy", "secure"), [("127.0.0.1", True), ("192.0.2.7", False)])
async def test_a_proxy_on_this_machine_tells_that_the_visitor_came_by_tls(
    monkeypatch: pytest.MonkeyPatch, proxy: str, *, secure: bool
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    config = program.make_server(CLOSED, "photos", "127.0.0.1").config
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(proxy, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4280") as visitor:
        answer = await visitor.get(f"/?token={TOKEN}", headers={"X-Forwarded-Proto": "https"})
    assert ("Secure" in answer.headers["set-cookie"]) == secure


def test_it_is_not_bound_to_others_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(host: str, _port: int) -> None:
        pytest.fail(f"bound to {host}")

    monkeypatch.setattr(program, "bind", bind)
    with pytest.raises(InvalidInput, match="it needs a token"):
        program.serve(OPEN, "photos", EVERYWHERE, 0)


def test_no_address_is_logged_since_it_may_hold_the_token() -> None:
    assert not program.make_server(CLOSED, "photos", "127.0.0.1").config.access_log


async def test_an_upload_that_breaks_off_is_no_failure_of_the_gallery() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(UnreadablePicture, match="did not arrive whole"):
        await endpoints._read_upload(request)
