"""The page's own files: nothing comes from elsewhere, nothing needs a build."""

import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from deployments.gallery.pages import read_files, serve_file

NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.fixture
def visitor() -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/", serve_file), Route("/static/{name}", serve_file)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


@pytest.mark.parametrize("name", sorted(read_files()))
def test_a_file_names_no_other_host_and_draws_no_style_or_script_inline(name: str) -> None:
    text = read_files()[name].data.decode().replace(NAMESPACE, "")
    assert re.findall(r"(?:https?:)?//[\w.]+\.\w+", text) == []
    if name.endswith((".html", ".svg")):
        assert (
            re.findall(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=\"/static)", text)
            == []
        )
    if name.endswith(".js"):
        assert (
            re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text) == []
        )


@pytest.mark.parametrize("name", ["gallery.js", "gallery.css", "index.html"])
def test_all_that_a_file_asks_for_is_there(name: str) -> None:
    text = read_files()[name].data.decode()
    wanted = re.findall(r"/static/([\w.-]+)|from \"\./([\w.-]+)\"", text)
    assert {one or other for one, other in wanted} <= read_files().keys()


def test_the_border_of_a_field_is_seen_on_either_side_in_light_and_in_dark() -> None:
    style = read_files()["gallery.css"].data.decode()
    assert re.search(
        r"\.field input, \.field select {[^}]* border: 1px solid var\(--field-line\)", style
    )
    colours = {
        name: re.findall(rf"--{name}: #(\w{{6}});", style)
        for name in ("field-line", "paper", "raised")
    }
    for around in ("paper", "raised"):
        for line, ground in zip(colours["field-line"], colours[around], strict=True):
            dark, light = sorted((luminance(line), luminance(ground)))
            # WCAG 2.2, 1.4.11: what alone tells where a field is.
            assert (light + 0.05) / (dark + 0.05) >= 3, (line, ground)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour as WCAG 2.2 defines it."""
    shares = [value / 255 for value in bytes.fromhex(colour)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


async def test_a_file_is_sent_again_only_when_it_changed(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "birdwalk" in answer.text
    tag = {"If-None-Match": answer.headers["etag"]}
    assert (await visitor.get("/", headers=tag)).status_code == 304
    assert (await visitor.get("/static/gallery.js", headers=tag)).status_code == 200


@pytest.mark.parametrize("name", ["no.js", "..%2Fapp.py", "%2Fetc%2Fpasswd", "__init__.py"])
async def test_no_other_file_is_served(visitor: httpx.AsyncClient, name: str) -> None:
    assert (await visitor.get(f"/static/{name}")).status_code == 404
