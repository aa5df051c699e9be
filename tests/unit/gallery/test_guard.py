"""Who is let into the gallery, and what every answer tells a browser."""

import socket

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from deployments.gallery.guard import COOKIE, Guard, is_loopback, refuse_open_door
from deployments.gallery.server import bind
from tasks.core.errors import InvalidInput

TOKEN = "correct-horse-battery"  # noqa: S105 - of this test alone
HERE = "http://127.0.0.1:4280"


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("inside")(scope, receive, send)


def client(guard: Guard, base: str = HERE) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=base)


def local() -> httpx.AsyncClient:
    return client(Guard(inside, None, loopback=True))


def public() -> httpx.AsyncClient:
    return client(Guard(inside, TOKEN, loopback=False), "http://gallery.example")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:80", "localhost:4280", "[::1]:9", "LocalHost"]
)
async def test_this_machines_own_names_are_let_in(host: str) -> None:
    async with local() as visitor:
        assert (await visitor.get("/", headers={"Host": host})).text == "inside"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "", "10.0.0.7", "localhost.evil", "[::1", "@"],
)
async def test_a_name_pointed_at_this_machine_by_others_is_not(host: str) -> None:
    async with local() as visitor:
        answer = await visitor.get("/api/images", headers={"Host": host})
    assert answer.status_code == 421
    assert "http://127.0.0.1" in answer.json()["error"]


async def test_the_token_is_asked_for_and_not_said() -> None:
    async with public() as visitor:
        for path in (
            "/",
            "/api/images",
            "/thumbnail",
            "/static/gallery.js",
            "/?token=wrong",
            "/?token=",
        ):
            answer = await visitor.get(path)
            assert answer.status_code == 401, path
            assert "BIRDWALK_GALLERY_TOKEN" in answer.text
            assert TOKEN not in answer.text
            assert "set-cookie" not in answer.headers
            assert answer.headers["cache-control"] == "no-store"
        assert (await visitor.post(f"/api/pictures?token={TOKEN}")).status_code == 401


async def test_the_token_in_an_address_becomes_a_cookie_and_leaves_the_address() -> None:
    async with public() as visitor:
        answer = await visitor.get(f"/?text=a+bird&token={TOKEN}&prefix=a%26b/")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/?text=a+bird&prefix=a%26b%2F"
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        assert answer.headers["cache-control"] == "no-store"
        assert (await visitor.get("/api/images")).text == "inside"


async def test_a_cookie_that_came_by_tls_goes_by_tls_alone() -> None:
    async with client(Guard(inside, TOKEN, loopback=False), "https://gallery.example") as visitor:
        assert "Secure" in (await visitor.get(f"/?token={TOKEN}")).headers["set-cookie"]


async def test_the_redirect_stays_on_this_host() -> None:
    async with public() as visitor:
        answer = await visitor.get(f"http://gallery.example//evil.example/?token={TOKEN}")
        assert answer.headers["location"] == "/evil.example/"


async def test_a_program_shows_the_token_as_a_bearer() -> None:
    async with public() as visitor:
        for shown, status in (
            (f"Bearer {TOKEN}", 200),
            ("Bearer no", 401),
            (f"Basic {TOKEN}", 401),
        ):
            answer = await visitor.get("/", headers={"Authorization": shown})
            assert answer.status_code == status


async def test_a_cookie_of_another_token_is_worth_nothing() -> None:
    async with client(Guard(inside, TOKEN + "!", loopback=False)) as visitor:
        other = (await visitor.get(f"/?token={TOKEN}!")).cookies[COOKIE]
    async with public() as visitor:
        answer = await visitor.get("/", headers={"Cookie": f"{COOKIE}={other}"})
    assert answer.status_code == 401


async def test_the_health_needs_no_token() -> None:
    async with public() as visitor:
        assert (await visitor.get("/health")).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_may_link_to_the_page_and_nothing_else(site: str) -> None:
    from_there = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    follows = {**from_there, "Sec-Fetch-Mode": "navigate"}
    async with local() as visitor:
        assert (await visitor.get("/", headers=follows)).status_code == 200
        assert (await visitor.get("/", headers=from_there)).status_code == 403
        assert (await visitor.get("/api/similar?text=a", headers=follows)).status_code == 403
        assert (await visitor.get("/thumbnail", headers=from_there)).status_code == 403
        assert (await visitor.post("/", headers=follows)).status_code == 403


async def test_a_picture_is_taken_from_this_page_alone() -> None:
    async with local() as visitor:
        for origin, status in ((HERE, 200), ("http://evil.example", 403), ("null", 403)):
            answer = await visitor.post("/api/pictures", headers={"Origin": origin})
            assert answer.status_code == status, origin
        assert (await visitor.post("/api/pictures")).status_code == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_a_picture_is_taken_through_a_proxy_that_sends_a_host_of_its_own(site: str) -> None:
    through = {"Host": "127.0.0.1:4280", "Origin": "https://gallery.example"}
    through["Authorization"] = f"Bearer {TOKEN}"
    async with public() as visitor:
        answer = await visitor.post("/api/pictures", headers={**through, "Sec-Fetch-Site": site})
        assert answer.text == "inside"
        # Nothing else tells a browser that says nothing of the site from another site's page.
        assert (await visitor.post("/api/pictures", headers=through)).status_code == 403


async def test_another_sites_page_is_refused_whatever_the_host_and_the_origin_say() -> None:
    headers = {"Host": "127.0.0.1:4280", "Origin": HERE, "Sec-Fetch-Site": "cross-site"}
    async with local() as visitor:
        assert (await visitor.post("/api/pictures", headers=headers)).status_code == 403


async def test_every_answer_keeps_other_sites_out() -> None:
    async with local() as visitor:
        for headers in ({}, {"Host": "evil.example"}):
            answer = await visitor.get("/", headers=headers)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound to it
        ("::", False),
        ("192.168.1.7", False),
        ("gallery.example", False),
        ("", False),
    ],
)
def test_another_address_than_loopback_needs_a_token(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) == loopback
    refuse_open_door(host, TOKEN)
    if loopback:
        refuse_open_door(host, None)
    else:
        with pytest.raises(InvalidInput, match=r"needs a token\. Set BIRDWALK_GALLERY_TOKEN"):
            refuse_open_door(host, None)


def test_answers_do_not_wait_for_acknowledgements_and_a_taken_port_is_said_to_be() -> None:
    with bind("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
        port = listening.getsockname()[1]
        with pytest.raises(InvalidInput, match=rf"at 127\.0\.0\.1, port {port}: .*in use"):
            bind("127.0.0.1", port)


def test_a_token_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has 8 characters; at least 16") as refused:
        refuse_open_door("127.0.0.1", "password")
    assert "password" not in str(refused.value)
