"""The page of the OpenAPI document: complete without scripts, and nothing is asked of anybody else."""

from html.parser import HTMLParser
from pathlib import Path
from typing import override

import pytest

from browser import browsing
from rendering import DEFAULT, Workshop
from serving import command, running

LOADING = ("src", "srcset", "href", "data", "poster", "action", "background", "style")
"""Attributes that make a browser load something, or could."""


class Page(HTMLParser):
    """What a page has: its elements, what it refers to, and the names of its parts."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.elements: set[str] = set()
        self.loads: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            if name in LOADING or name.startswith("on"):
                self.loads.add(value or "")
            elif name == "id":
                self.ids.add(value or "")


@pytest.mark.gate
def test_the_page_is_whole_and_loads_nothing(workshop: Workshop, tmp_path: Path) -> None:
    """Every operation is on the page; it has no element that loads, and its policy would let none through."""
    with running(workshop.install(DEFAULT), tmp_path / "run") as service:
        document = service.call("GET", "/openapi.json").document
        answer = service.call("GET", "/docs")
    seen = Page(answer.body.decode())
    assert {one["operationId"] for item in document["paths"].values() for one in item.values()} <= seen.ids
    assert {"data:,", "openapi.json"} == seen.loads
    assert not {"script", "iframe", "img", "object", "embed", "form", "base"} & seen.elements
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]


@pytest.mark.gate
def test_the_page_needs_ops_and_can_be_off(workshop: Workshop, tmp_path: Path) -> None:
    """Where callers are known, operators see it; with the setting off, nobody does."""
    project, keys = workshop.install(DEFAULT), tmp_path / "keys.toml"
    made = [
        command(project, tmp_path, "keys", "new", scope, "--scope", scope, "--file", str(keys)).stdout.strip()
        for scope in ("ops", "genai")
    ]
    closed = {"MY_SERVICE_AUTH__OPEN": "false", "MY_SERVICE_AUTH__KEYS_FILE": str(keys)}
    with running(project, tmp_path / "closed", closed) as service:
        shown = [{}, *({"Authorization": f"Bearer {key}"} for key in made)]
        assert [401, 200, 403] == [service.call("GET", "/docs", headers=headers).status for headers in shown]
    with running(project, tmp_path / "off", {"MY_SERVICE_HTTP__DOCS": "false"}) as service:
        assert [404, 404] == [service.call("GET", path).status for path in ("/docs", "/openapi.json")]


@pytest.mark.gate
def test_a_browser_asks_nobody_else(workshop: Workshop, tmp_path: Path) -> None:
    """A real browser shows the whole page; it asks the service alone, and its console stays silent."""
    with running(workshop.install(DEFAULT), tmp_path / "run") as service, browsing(tmp_path) as browser:
        document = service.call("GET", "/openapi.json").document
        seen = browser.visit(f"{service.url}/docs")
    assert [f"{service.url}/docs"] == [url for url in seen.asked if not url.startswith("data:")]
    assert [] == seen.errors
    assert {path for path in document["paths"] if path not in seen.text} == set()


PLANTED = b"""<body>Planted<img src="http://elsewhere.example/a.png"><link rel="stylesheet" href="https://cdn.example/a.css">
<script>console.error("planted"); throw new Error("thrown")</script></body>"""


@pytest.mark.gate
def test_the_browser_tells_what_a_page_asks_of_others(tmp_path: Path) -> None:
    """A page with outside requests and errors is caught: the test above can fail."""
    page = tmp_path / "planted.html"
    page.write_bytes(PLANTED)
    with browsing(tmp_path) as browser:
        seen = browser.visit(page.as_uri())
    assert {"http://elsewhere.example/a.png", "https://cdn.example/a.css"} <= set(seen.asked)
    assert {"planted", "Uncaught"} <= set(seen.errors)
    assert "Planted" == seen.text.strip()
