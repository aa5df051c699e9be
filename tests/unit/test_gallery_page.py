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
    if name.endswith(".html"):
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
