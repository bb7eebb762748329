"""Tokens: checks a JWT, and says whose it is and what it allows."""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from joserfc import jws, jwt

from ...chassis.clock import SystemClock
from ...chassis.contracts.clock import Clock
from ...chassis.contracts.context import EVERY_SCOPE, Principal
from ...chassis.contracts.errors import ServiceError
from .key_set import KeySet
from .settings import OidcSection

ID_PREFIX = "oidc:"
"""Before the subject of a token, so that no token has the id of an API key."""

_MAX_KID_CHARS = 256
_PLAIN = re.compile(r"(?!.*(?:@.*\.|\+\d))[A-Za-z0-9._@|:+-]{1,59}")
"""Without e-mail addresses and telephone numbers, which no line of the log would show."""
_SYSTEM = SystemClock()
_log = logging.getLogger(__name__)


class Tokens:
    """An authenticator: accepts what the issuer signed for this service and for now."""

    def __init__(self, section: OidcSection, keys: KeySet, clock: Clock = _SYSTEM) -> None:
        """Take what the settings say, and the keys of the issuer."""
        self._section = section
        self._keys = keys
        self._clock = clock

    async def __call__(self, credential: str) -> Principal | None:
        """Return whose token it is; None for what is no token, or not a valid one.

        Raises:
            ServiceError: if the keys of the issuer cannot be had.
        """
        if credential.count(".") != 2:  # noqa: PLR2004 - header, claims, signature: RFC 7515, section 3.1
            return None
        try:
            claims = await self._claims(credential)
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stranger's text makes the library raise
            _log.info("token_refused", extra={"reason": type(error).__name__})
            return None
        if not claims or not claims["sub"]:
            return None
        return Principal(principal_id(str(claims["sub"])), frozenset(self._scopes(claims)))

    async def _claims(self, token: str) -> Mapping[str, Any] | None:
        section = self._section
        header = jws.extract_compact(token.encode("ascii")).headers()
        kid = header.get("kid")
        usable_id = kid is None or (isinstance(kid, str) and len(kid) <= _MAX_KID_CHARS)
        if header.get("alg") not in section.algorithms or not usable_id:
            return None  # before anybody asks for a key
        key = await self._keys.find(kid)
        if key is None:
            return None
        claims = jwt.decode(token, key, algorithms=section.algorithms).claims
        jwt.JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=section.leeway_s,
            iss={"essential": True, "value": section.issuer or ""},
            aud={"essential": True, "value": section.audience or ""},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(claims)
        return claims

    def _scopes(self, claims: Mapping[str, Any]) -> Iterable[str]:
        stated = scopes_in(claims, self._section.scope_claim)
        if self._section.scope_map:
            return [scope for name in stated for scope in self._section.scope_map.get(name, ())]
        return [scope for scope in stated if scope != EVERY_SCOPE]


def principal_id(subject: str) -> str:
    """Return the id of a subject: itself where it is short and plain, otherwise a digest, which no plain one can be."""
    if _PLAIN.fullmatch(subject):
        return f"{ID_PREFIX}{subject}"
    return f"{ID_PREFIX}#{hashlib.sha256(subject.encode()).hexdigest()[:32]}"


def scopes_in(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the scopes of a claim: divided by blanks (RFC 8693, section 4.2), or a list; dots lead into objects."""
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return value.split()
    return [scope for scope in value if isinstance(scope, str)] if isinstance(value, list) else []
