"""Redaction costs linear time, whatever somebody manages to get logged."""

import time
from collections.abc import Callable

import pytest

from object_service.chassis.redaction import redact_query, redact_text

PIECES = (
    *("a", "a.", "a@", "a@b.", "1 ", "+1", "&a", "?a", "://", "a://b:", "http://a:", "http://a", "https://a@"),
    *("eyJaaaaaa-", "eyJaaaaaa.", 'token="', "secret-a-", "auth: ", "dsn=", "session_", "tokens", "ghs_", "AKIA"),
    *("1 1", "4-", "4111 1111 1111 1111 ", "4111111111111111", "+1 (555) ", "555-", "(555) 123-4567"),
    *(
        "a%40",
        "%2B1",
        "4111.",
        "4111_",
        "4111\u00a0",
        "('token', '",
        "('token','x')",
        "['token\", b'",
        "('" + "secret-" * 9,
    ),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----a-", "-", "a-"),
)


QUERIES = ("&", "=", "%26", "a%40&", "a=%2540", "key=%26", "%", "+1")


@pytest.mark.parametrize(
    ("redacted", "piece"),
    [(redact_text, piece) for piece in PIECES] + [(redact_query, piece) for piece in QUERIES],
    ids=lambda part: part.__name__ if callable(part) else repr(part),
)
def test_long_texts_cost_linear_time(redacted: Callable[[str], str], piece: str) -> None:
    """No text makes a log line hang: 300,000 characters take about as long as three times 100,000."""
    text = piece * (300_000 // len(piece))
    begun = time.process_time()
    redacted(text[:100_000])
    third_s = time.process_time() - begun

    begun = time.process_time()
    redacted(text)
    whole_s = time.process_time() - begun

    assert whole_s < 2
    assert whole_s < 6 * third_s + 0.1
