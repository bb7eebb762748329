"""Browsers are told to be careful with every answer, and let no page of another origin in unless told so."""

import pytest

from chassis.web.app import FEATURES, client_of, get, post, raising
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError

SAFE = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
ORIGIN = {"Origin": "https://app.example.com"}
ASKED = ORIGIN | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


@pytest.mark.parametrize("path", ["/livez", "/v1/things/1", "/nowhere", "/v1/raise/crashed"])
async def test_every_answer_is_safe_in_a_browser(path: str) -> None:
    """Answers, refusals and crashes alike; nothing is said about HTTPS unless somebody promised it."""
    raising("crashed", RuntimeError("no"))
    headers = (await get(path)).headers

    assert SAFE == {name: headers.get(name) for name in SAFE}
    assert "strict-transport-security" not in headers
    assert "access-control-allow-origin" not in headers


async def test_headers_of_an_answer_come_first() -> None:
    """What a route says about its own answer is not said a second time."""
    response = await get("/v1/labelled")

    assert ["private, max-age=60"] == response.headers.get_list("cache-control")


async def test_https_can_be_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is only reached by TLS says so for as long as the setting tells."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__HSTS_S", "3600")

    assert "max-age=3600; includeSubDomains" == (await get("/livez")).headers["strict-transport-security"]


async def test_no_page_is_let_in_by_default() -> None:
    """A preflight is an unknown method, and an answer carries no permission."""
    async with client_of() as client:
        asked = await client.options("/v1/things", headers=ASKED)
        told = await client.get("/v1/things/1", headers=ORIGIN)

    assert 405 == asked.status_code
    assert not [name for name in (*asked.headers, *told.headers) if name.startswith("access-control")]


async def test_pages_of_stated_origins_are_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may send what the service reads and see what it says; pages from elsewhere may not."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__CORS_ORIGINS", '["https://app.example.com"]')
    async with client_of() as client:
        asked = await client.options("/v1/things", headers=ASKED)
        told = await client.get("/v1/things/1", headers=ORIGIN)
        foreign = await client.get("/v1/things/1", headers={"Origin": "https://evil.example.com"})
        refused = await client.options("/v1/things", headers=ASKED | {"Origin": "https://evil.example.com"})

    assert (200, ORIGIN["Origin"]) == (asked.status_code, asked.headers["access-control-allow-origin"])
    assert "X-API-Key" in asked.headers["access-control-allow-headers"]
    assert ORIGIN["Origin"] == told.headers["access-control-allow-origin"]
    assert "Retry-After" in told.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in told.headers
    assert "access-control-allow-origin" not in foreign.headers
    assert (400, None) == (refused.status_code, refused.headers.get("access-control-allow-origin"))
    assert "nosniff" == asked.headers["x-content-type-options"]


async def test_a_failure_can_be_read_by_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is let in learns why its request was refused."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__CORS_ORIGINS", '["https://app.example.com"]')
    response = await post("[", ORIGIN)

    assert (400, ORIGIN["Origin"]) == (response.status_code, response.headers["access-control-allow-origin"])


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CORS_ORIGINS": '["*"]', "CORS_CREDENTIALS": "true"}, "expected the origins one by one"),
        ({"CORS_ORIGINS": '["https://app.example.com/"]'}, "expected an origin as browsers send it"),
        ({"CORS_ORIGINS": '["app.example.com"]'}, "expected an origin as browsers send it"),
        ({"CORS_ORIGINS": "https://app.example.com"}, "expected a JSON list"),
    ],
    ids=["credentials-for-all", "path", "no-scheme", "no-list"],
)
def test_origins_that_cannot_be_meant_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    """Every page with the visitor's credentials, or an origin that no browser ever sends, is a mistake."""
    for name, value in variables.items():
        monkeypatch.setenv(f"OBJECT_SERVICE_HTTP__{name}", value)
    with pytest.raises(ConfigurationError, match=f"HTTP__CORS_ORIGINS .*{expected}"):
        load(FEATURES)
