"""Signatures of webhooks, held against the vectors of the standard and a library for receivers; and their settings."""

import base64
import time

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from object_service.capabilities.jobs.webhook_settings import WebhookSection
from object_service.capabilities.jobs.webhook_signing import headers_of, keys_of
from object_service.chassis.config.section import Environment
from receiver import OLD_SECRET, SECRET

ID, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
URL = "https://example.com/hook"
DEV, PROD = Environment.DEV, Environment.PROD


def test_signatures_are_those_of_the_standard() -> None:
    """The vector of its libraries, and the headers by their names."""
    expected = {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert expected == headers_of(ID, 1614265330, BODY, keys_of(SECRET))


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET], ids=["new", "old"])
def test_both_secrets_sign_while_they_are_exchanged(secret: str) -> None:
    """A receiver accepts what either of them signed."""
    headers = headers_of(ID, int(time.time()), BODY, keys_of(f"{SECRET} {OLD_SECRET}"))
    assert 2 == len(headers["webhook-signature"].split(" "))
    assert {"test": 2432232314} == Webhook(secret).verify(BODY, headers)


def _secret(size: int, prefix: str = "whsec_") -> str:
    return prefix + base64.b64encode(bytes(range(size))).decode()


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_have_24_to_64_bytes(size: int) -> None:
    """The bounds are within."""
    assert (bytes(range(size)),) == keys_of(_secret(size))


@pytest.mark.parametrize(
    "secret",
    ["", _secret(23), _secret(65), _secret(32, ""), _secret(32, "whsk_"), "whsec_%%%", f"{SECRET} x", f"{SECRET}é"],
    ids=["none", "short", "long", "no prefix", "another prefix", "no base64", "second one", "no ASCII"],
)
def test_other_secrets_are_refused_without_being_told(secret: str) -> None:
    """What is expected is said, and what came is not."""
    with pytest.raises(ValidationError, match="whsec_ and the base64 of 24 to 64 random bytes") as refused:
        WebhookSection.model_validate({"url": URL, "secret": secret})
    assert len(secret) < 8 or secret not in str(refused.value)


@pytest.mark.parametrize("url", ["https://me:word@example.com", "https://me@example.com", f"{URL}#part"])
def test_urls_carry_no_credentials(url: str) -> None:
    """Neither user and password nor a fragment."""
    with pytest.raises(ValidationError, match="without user, password and fragment"):
        WebhookSection.model_validate({"url": url, "secret": SECRET})


@pytest.mark.parametrize("value", ["[0]", "[-1]", "[1, 0]", "[1e999]"])
def test_pauses_are_above_zero(value: str) -> None:
    """And finite."""
    with pytest.raises(ValidationError):
        WebhookSection.model_validate({"pauses_s": value})


def test_ten_attempts_take_three_days() -> None:
    """Unless settings say otherwise, as the standard has it."""
    pauses_s = WebhookSection().pauses_s
    assert (9, 5.0, 24 * 3600.0, 272105.0) == (len(pauses_s), pauses_s[0], pauses_s[-1], sum(pauses_s))


@pytest.mark.parametrize(
    ("url", "environment", "refused"),
    [
        (URL, PROD, False),
        ("http://127.0.0.1:9/hook", DEV, False),
        ("http://[::1]/hook", DEV, False),
        ("http://localhost/hook", DEV, False),
        ("http://127.0.0.1:9/hook", PROD, True),
        ("http://10.0.0.1/hook", DEV, True),
        ("http://example.com/hook", DEV, True),
        ("http://localhost.example.com/hook", DEV, True),
    ],
)
def test_announcements_are_encrypted_on_their_way(url: str, environment: Environment, *, refused: bool) -> None:
    """Plain http is for this machine itself, in dev."""
    section = WebhookSection.model_validate({"url": url, "secret": SECRET})
    assert [("url",)] * refused == [found.field for found in section.contradictions(environment)]


def test_announcements_are_never_unsigned() -> None:
    """A URL needs a secret; a secret without URL does nothing."""
    assert [("secret",)] == [found.field for found in WebhookSection.model_validate({"url": URL}).contradictions(PROD)]
    assert [] == list(WebhookSection.model_validate({"secret": SECRET}).contradictions(PROD))
