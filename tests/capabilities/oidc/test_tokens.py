"""Tokens: which are accepted, whose they are, and what they allow."""

import base64
import hashlib
import hmac
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jwt

from issuer import AUDIENCE, Issuer
from object_service.capabilities.oidc.key_set import KeySet
from object_service.capabilities.oidc.settings import OidcSection
from object_service.capabilities.oidc.tokens import Tokens, principal_id, scopes_in
from object_service.chassis.contracts.context import Principal
from object_service.chassis.contracts.errors import ServiceError
from object_service.chassis.redaction import redact_text

KEYS_URL = "https://issuer.example/keys"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Return an issuer with one key."""
    found = Issuer()
    found.rotate("first")
    return found


def _tokens(issuer: Issuer, **settings: Any) -> Tokens:
    async def fetch() -> bytes:
        return issuer.document()

    values = {"issuer": issuer.url, "audience": AUDIENCE, "keys_url": KEYS_URL, **settings}
    return Tokens(OidcSection.model_validate(values), KeySet(fetch, refresh_s=3600, min_refresh_s=30))


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_a_good_token_says_who_calls(issuer: Issuer) -> None:
    """The subject, apart from the ids of API keys, and the scopes."""
    tokens = _tokens(issuer)

    assert Principal("oidc:ann", frozenset({"genai", "ops"})) == await tokens(issuer.token(scope="genai ops"))
    assert Principal("oidc:ann") == await tokens(issuer.token(scope=None))


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"iss": "https://issuer.example/"},
        {"iss": None},
        {"iss": ["https://issuer.example"]},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"exp": None},
        {"exp": 0},
        {"exp": "tomorrow"},
        {"exp": -31},
        {"nbf": 31},
        {"iat": 120},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
    ],
    ids=str,
)
async def test_a_token_for_others_or_for_another_time_is_refused(issuer: Issuer, changed: dict[str, Any]) -> None:
    """Issuer, audience, subject and end have to be there and right; small numbers are seconds from now."""
    now = issuer.claims()["iat"]
    relative = {
        name: now + value if isinstance(value, int) and name != "sub" and value else value
        for name, value in changed.items()
    }

    assert await _tokens(issuer)(issuer.token(**relative)) is None


@pytest.mark.parametrize("changed", [{"aud": ["other", AUDIENCE]}, {"exp": -20}, {"nbf": 20}, {"iat": 20}], ids=str)
async def test_several_audiences_and_clocks_that_differ_are_fine(issuer: Issuer, changed: dict[str, Any]) -> None:
    """Within the leeway."""
    now = issuer.claims()["iat"]
    relative = {name: now + value if isinstance(value, int) else value for name, value in changed.items()}

    assert await _tokens(issuer)(issuer.token(**relative)) is not None
    if "exp" in changed:
        assert await _tokens(issuer, leeway_s=0)(issuer.token(**relative)) is None


async def test_only_the_algorithms_of_the_settings_are_accepted(issuer: Issuer) -> None:
    """No token chooses for itself: neither `none`, nor a secret made of the public key, nor another key."""
    claims = issuer.claims()
    public = issuer.keys[0].as_pem(private=False)
    unsigned = f"{_encoded({'alg': 'none', 'kid': 'first'})}.{_encoded(claims)}."
    signed = f"{_encoded({'alg': 'HS256', 'kid': 'first'})}.{_encoded(claims)}"
    mark = hmac.new(public, signed.encode(), hashlib.sha256).digest()
    secret = f"{signed}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"
    stranger = Issuer()
    stranger.rotate("first")
    tokens = _tokens(issuer)

    for token in (unsigned, secret, stranger.token(), issuer.token(header={"crit": ["b64"], "b64": False})):
        assert await tokens(token) is None
    assert await _tokens(issuer, algorithms=["RS256"])(issuer.token()) is None
    assert await tokens(issuer.token()) is not None


async def test_rsa_is_accepted_by_default() -> None:
    """What most issuers sign with."""
    issuer = Issuer(keys=[jwk.RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)])
    token = jwt.encode({"alg": "RS256", "kid": "rsa"}, issuer.claims(), issuer.keys[0], ["RS256"])

    assert await _tokens(issuer)(token) is not None
    without = jwt.encode({"alg": "RS256"}, issuer.claims(), issuer.keys[0], ["RS256"])
    assert await _tokens(issuer)(without) is not None


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_changed_token_is_refused(issuer: Issuer, part: int) -> None:
    """Whatever was changed."""
    tokens = _tokens(issuer)
    parts = issuer.token().split(".")
    assert await tokens(".".join(parts)) is not None
    parts[part] = ("A" if parts[part][0] != "A" else "B") + parts[part][1:]

    assert await tokens(".".join(parts)) is None


@given(st.text(max_size=60) | st.tuples(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20)).map(".".join))
async def test_any_text_is_refused_without_a_failure(text: str) -> None:
    """Whatever a stranger sends."""
    assert await _tokens(Issuer())(text) is None


@pytest.mark.parametrize(
    "header", [[], "x", 7, {"alg": ["ES256"]}, {"alg": "ES256", "kid": 7}, {"alg": "ES256", "kid": "k" * 300}]
)
async def test_odd_headers_are_refused(issuer: Issuer, header: object) -> None:
    """Before anybody asks for a key."""
    assert await _tokens(issuer)(f"{_encoded(header)}.{_encoded(issuer.claims())}.AAAA") is None


async def test_deep_json_is_refused(issuer: Issuer) -> None:
    """As much as fits into the headers of a request."""
    deep = base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=")

    assert await _tokens(issuer)(f"{deep}.{deep}.AAAA") is None


async def test_without_keys_nobody_is_refused_for_good(issuer: Issuer) -> None:
    """The caller may be right: 503, with the time after which the issuer is asked again."""

    async def fetch() -> bytes:
        return b"{}"

    section = OidcSection.model_validate({"issuer": issuer.url, "audience": AUDIENCE, "keys_url": KEYS_URL})
    with pytest.raises(ServiceError) as caught:
        await Tokens(section, KeySet(fetch, refresh_s=3600, min_refresh_s=30))(issuer.token())

    assert ("provider_unavailable", True, 30) == (caught.value.code, caught.value.retryable, caught.value.retry_after_s)


async def test_the_log_says_which_check_failed_and_nothing_of_the_token(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Enough to tell an expired token from a forged one."""
    caplog.set_level(logging.INFO)
    token = issuer.token(exp=1)
    await _tokens(issuer)(token)

    assert ["ExpiredTokenError"] == [
        vars(record)["reason"] for record in caplog.records if record.message == "token_refused"
    ]
    assert token.split(".")[1] not in caplog.text


@pytest.mark.parametrize(
    ("claim", "claims", "expected"),
    [
        ("scope", {"scope": "a  b"}, ["a", "b"]),
        ("scope", {"scope": ["a", 7, "b"]}, ["a", "b"]),
        ("scope", {"scope": {"a": "b"}}, []),
        ("scope", {}, []),
        ("roles.here", {"roles": {"here": ["a"]}}, ["a"]),
        ("roles.here", {"roles": "here"}, []),
        ("https://x.example/roles", {"https://x.example/roles": "a"}, ["a"]),
    ],
)
def test_scopes_are_found(claim: str, claims: dict[str, Any], expected: list[str]) -> None:
    """As words, as a list, inside objects, or under a name with dots."""
    assert expected == scopes_in(claims, claim)


async def test_scopes_are_mapped(issuer: Issuer) -> None:
    """With a map only what it names counts; without one no token allows everything."""
    mapped = _tokens(issuer, scope_map={"staff": ["genai", "jobs"], "admin": ["*"]})

    for scope, expected in (("staff", {"genai", "jobs"}), ("genai", set()), ("admin", {"*"})):
        principal = await mapped(issuer.token(scope=scope))
        assert principal is not None
        assert expected == principal.scopes
    assert Principal("oidc:ann", frozenset({"genai"})) == await _tokens(issuer)(issuer.token(scope="* genai"))


def test_ids_of_subjects_fit_everywhere() -> None:
    """Short and plain ones stay readable; any other is a digest, and so is what the log would mask."""
    for plain in ("auth0|5f7c", "k3@clients", "system:serviceaccount:shop:web", "108204268033311374519"):
        assert f"oidc:{plain}" == principal_id(plain) == redact_text(principal_id(plain))
    for odd in ("x" * 60, "a b", "é", "a\nb", "ann@mail.example.com", "+15550100123"):
        assert f"oidc:#{hashlib.sha256(odd.encode()).hexdigest()[:32]}" == principal_id(odd)
        assert principal_id(odd) == redact_text(principal_id(odd))


def test_no_subject_has_the_id_of_another() -> None:
    """Nobody takes over who was given a digest by being called as that digest."""
    taken = principal_id("a subject with blanks")
    for prefix in ("oidc:", "oidc:#"):
        assert taken != principal_id(taken.removeprefix(prefix))
