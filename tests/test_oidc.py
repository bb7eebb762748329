"""Tokens of an identity provider: a real service, a real issuer, keys that change, and an outage."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from issuer import Issuer, shown
from pages import blocks
from rendering import DEFAULT, Workshop, tool
from serving import JSON, Answer, Service, command, running
from tools import ROOT

PAGE = ROOT / "docs" / "how-to" / "use-tokens.md"
WITH_TOKENS = {"objects": ["genai"], "capabilities": ["oidc"]}
LIMIT_S = 60


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return an installed project that accepts tokens."""
    return workshop.install(WITH_TOKENS)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Return an issuer with one key."""
    found = Issuer()
    found.rotate("first")
    return found


@pytest.fixture(scope="module")
def service(project: Path, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service in prod that knows its callers by tokens alone."""
    with shown(issuer) as url:
        variables = {
            "MY_SERVICE_ENVIRONMENT": "prod",
            "MY_SERVICE_GENAI__ALLOW_OFFLINE": "true",
            "MY_SERVICE_LIMITS__FAILURES__RATE_PER_S": "0",
            "MY_SERVICE_OIDC__ISSUER": issuer.url,
            "MY_SERVICE_OIDC__AUDIENCE": "my-service",
            "MY_SERVICE_OIDC__KEYS_URL": url,
            "MY_SERVICE_OIDC__MIN_REFRESH_S": "1",
            "MY_SERVICE_OIDC__REFRESH_S": "1",
        }
        with running(project, tmp_path_factory.mktemp("tokens"), variables) as started:
            yield started


def _ask(service: Service, token: str) -> Answer:
    headers = {**JSON, "Authorization": f"Bearer {token}"}
    return service.call("POST", "/v1/generations", json.dumps({"prompt": "hello"}).encode(), headers)


def _eventually(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_token_opens_what_its_scopes_say(service: Service, issuer: Issuer) -> None:
    """A good one is served; without the scope 403; forged, foreign, ended or unsigned ones 401."""
    forger = Issuer()
    forger.rotate("first")
    header, claims, _ = issuer.token().split(".")
    wrong = {
        "forged": forger.token(),
        "unsigned": f"{header}.{claims}.",
        "ended": issuer.token(exp=1),
        "of another issuer": issuer.token(iss="https://other.example"),
        "for another service": issuer.token(aud="other"),
    }

    assert 200 == _ask(service, issuer.token()).status
    assert (403, "forbidden") == ((answer := _ask(service, issuer.token(scope="ops"))).status, answer.code)
    for name, token in wrong.items():
        assert (401, "unauthenticated") == ((answer := _ask(service, token)).status, answer.code), name
    refused = {line["reason"] for line in service.log() if line["event"] == "token_refused"}
    assert {"BadSignatureError", "ExpiredTokenError", "InvalidClaimError"} <= refused
    log = service.log_file.read_text(encoding="utf-8")
    assert claims not in log


def test_keys_change_and_the_issuer_goes_away(service: Service, issuer: Issuer) -> None:
    """A new key works without a restart, one that was taken back does not, and an outage changes nothing."""
    old = issuer.token()
    issuer.rotate("second")
    both = issuer.token()
    _eventually(lambda: _ask(service, both).status == 200)
    assert 200 == _ask(service, old).status
    issuer.rotate("third", keep_old=False)
    _eventually(lambda: _ask(service, old).status == 401)
    newest = issuer.token()
    assert 200 == _ask(service, newest).status

    issuer.status = 503
    issuer.rotate("fourth")
    _eventually(
        lambda: (
            _ask(service, newest).status == 200
            and any(line["event"] == "oidc_keys_unavailable" for line in service.log())
        )
    )
    assert [200, 401] == [_ask(service, token).status for token in (newest, issuer.token())]
    issuer.status = 200
    _eventually(lambda: _ask(service, issuer.token()).status == 200)


def test_the_page_names_settings_that_there_are(project: Path, tmp_path: Path) -> None:
    """Every variable on the page exists, and its examples are accepted together."""
    text = PAGE.read_text(encoding="utf-8")
    stated = [block.text for block in blocks(text) if block.language == "dotenv"]
    (tmp_path / ".env").write_text("".join(stated), encoding="utf-8")
    done = command(project, tmp_path, "config", "check", "--strict")

    assert 0 == done.returncode, done.stderr
    reference = (project / "docs" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"MY_SERVICE_\w+", text)) <= set(re.findall(r"MY_SERVICE_\w+", reference))


def test_nobody_else_pays_for_tokens(workshop: Workshop, project: Path) -> None:
    """The default service does not have the libraries, and this one imports them when it is configured."""
    program = "import sys, my_service.bootstrap as b; b.runtime(); sys.exit('joserfc' in sys.modules)"
    assert 0 == tool(project, "python", "-c", program).returncode
    default = workshop.install(DEFAULT)
    assert 1 == tool(default, "python", "-c", "import joserfc").returncode
    assert not list((default / "src" / "my_service" / "capabilities").glob("oidc*"))
