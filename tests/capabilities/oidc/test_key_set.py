"""The issuer's key set: fetched when needed, rotated, and kept while it cannot be had."""

import asyncio
import json
import logging
import socket
from pathlib import Path

import pytest
from joserfc import jwk

from chassis.auth.clock import StillClock
from issuer import Issuer, shown
from object_service.capabilities.oidc import key_set
from object_service.capabilities.oidc.key_set import MAX_BYTES, KeySet, KeySetError, from_file, from_url, parsed
from object_service.chassis.contracts.errors import ServiceError

REFRESH_S, LEAST_S = 3600.0, 30.0


def _keys(url: str, clock: StillClock) -> KeySet:
    return KeySet(from_url(url), refresh_s=REFRESH_S, min_refresh_s=LEAST_S, clock=clock)


async def test_a_new_key_is_found_when_a_token_names_it() -> None:
    """The key set is asked for once, and again for an unknown key; never twice within the least time."""
    issuer, clock = Issuer(), StillClock()
    issuer.rotate("first")
    with shown(issuer) as url:
        keys = _keys(url, clock)
        for _ in range(3):
            assert await keys.find("first") is not None
        assert 1 == issuer.requests
        issuer.rotate("second")
        assert await keys.find("second") is None
        clock.advance(LEAST_S)
        found = await asyncio.gather(*(keys.find("second") for _ in range(20)))

        assert None not in found
        assert 2 == issuer.requests
        for _ in range(20):
            assert await keys.find("unknown") is None
        assert 2 == issuer.requests


async def test_a_key_that_was_taken_back_ends_with_the_next_refresh() -> None:
    """Nobody waits for that refresh: whoever comes first still has the old keys."""
    issuer, clock = Issuer(), StillClock()
    issuer.rotate("first")
    with shown(issuer) as url:
        keys = _keys(url, clock)
        assert await keys.find("first") is not None
        issuer.rotate("second", keep_old=False)
        clock.advance(REFRESH_S - 1)
        assert await keys.find("first") is not None
        clock.advance(1)
        async with asyncio.timeout(30):
            while await keys.find("first") is not None:  # noqa: ASYNC110 - nothing else tells of the refresh
                await asyncio.sleep(0.01)

        assert await keys.find("second") is not None
        assert 2 == issuer.requests
        await keys.aclose()


async def test_keys_are_kept_while_the_issuer_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """An outage, an error and nonsense alike: told once, and callers with known keys do not notice."""
    caplog.set_level(logging.INFO)
    issuer, clock = Issuer(), StillClock()
    issuer.rotate("first")
    with shown(issuer) as url:
        keys = _keys(url, clock)
        assert await keys.find("first") is not None
        for status, body in ((500, None), (302, None), (200, b"<html>"), (200, b"{}"), (200, b"x" * (MAX_BYTES + 1))):
            issuer.status, issuer.body = status, body
            clock.advance(LEAST_S)
            assert await keys.find("unknown") is None
            assert await keys.find("first") is not None
    clock.advance(REFRESH_S)
    assert await keys.find("unknown") is None
    assert await keys.find("first") is not None
    await keys.aclose()

    assert 6 == issuer.requests
    assert ["oidc_keys_loaded", "oidc_keys_unavailable"] == [
        record.message for record in caplog.records if record.message.startswith("oidc")
    ]


async def test_without_any_keys_the_issuer_is_asked_again_later() -> None:
    """A service that starts during an outage recovers by itself."""
    issuer, clock = Issuer(status=503), StillClock()
    issuer.rotate("first")
    with shown(issuer) as url:
        keys = _keys(url, clock)
        for _ in range(2):
            with pytest.raises(ServiceError):
                await keys.find("first")
        assert 1 == issuer.requests
        issuer.status = 200
        clock.advance(LEAST_S)

        assert await keys.find("first") is not None


async def test_an_issuer_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After seconds, not after minutes."""
    monkeypatch.setattr(key_set, "FETCH_TIMEOUT_S", 0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(KeySetError, match="TimeoutError"):
            await from_url(f"http://127.0.0.1:{port}/")()


def test_what_is_no_public_key_for_signatures_is_left_out() -> None:
    """Secrets, keys for encryption and unknown kinds; a private key counts as its public part."""
    good = jwk.ECKey.generate_key("P-256", {"kid": "good"}, private=True)
    entries = [
        {"kty": "oct", "kid": "secret", "k": "AAAA"},
        {**jwk.ECKey.generate_key("P-256", {"kid": "enc"}).as_dict(private=False), "use": "enc"},
        {"kty": "new", "kid": "new"},
        {"kty": "EC", "kid": "broken", "crv": "P-256"},
        "odd",
        good.as_dict(private=True),
    ]
    keys = parsed(json.dumps({"keys": entries}).encode())

    assert {"good", None} == set(keys)
    key = keys["good"]
    assert not key.is_private
    assert keys[None] is key
    two = jwk.ECKey.generate_key("P-256", {"kid": "two"})
    assert {"good", "two"} == set(parsed(json.dumps({"keys": [good.as_dict(), two.as_dict(private=False)]}).encode()))


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"{}", b'{"keys": 7}', b'{"keys": []}', b"[" * 99999, b"\xff"])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    """In plain words."""
    with pytest.raises(KeySetError):
        parsed(content)


async def test_a_file_is_read_again(tmp_path: Path) -> None:
    """Where no address can be reached; one that is away keeps the keys."""
    issuer, clock, path = Issuer(), StillClock(), tmp_path / "keys.json"
    issuer.rotate("first")
    path.write_bytes(issuer.document())
    keys = KeySet(from_file(path), refresh_s=1, min_refresh_s=1, clock=clock)
    assert await keys.find("first") is not None
    issuer.rotate("second")
    path.write_bytes(issuer.document())
    clock.advance(1)
    assert await keys.find("second") is not None
    path.unlink()
    clock.advance(1)

    assert await keys.find("second") is not None
    assert await keys.find("third") is None
    await keys.aclose()
