"""Settings of tokens."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, override

from pydantic import AfterValidator, Field, HttpUrl

from ...chassis.config.section import Contradiction, Environment, IdentifyingSection

type Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
"""Signatures with a key that only the issuer has; there is no `none`, and no secret that the service would share."""


def _guarded(url: HttpUrl) -> HttpUrl:
    if url.scheme != "https" and url.host not in ("127.0.0.1", "localhost", "[::1]"):
        message = "a URL that starts with https://; plain http is for this machine only"
        raise ValueError(message)
    return url


class OidcSection(IdentifyingSection):
    """Whose tokens are accepted, for whom, and what they allow."""

    issuer: str | None = Field(default=None, min_length=1, description="Issuer of the tokens, exactly as in `iss`.")
    audience: str | None = Field(default=None, min_length=1, description="This service, as tokens name it in `aud`.")
    keys_url: Annotated[HttpUrl, AfterValidator(_guarded)] | None = Field(
        default=None, description="Address of the issuer's key set (`jwks_uri`), over https."
    )
    keys_file: Path | None = Field(
        default=None, description="A file with the issuer's key set, where no address can be reached."
    )
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "ES256"), min_length=1, description="Signatures that are accepted, as a JSON list."
    )
    leeway_s: int = Field(
        default=30, ge=0, le=300, description="How far the clocks of issuer and service may differ, in seconds."
    )
    scope_claim: str = Field(
        default="scope",
        min_length=1,
        description="Claim with the scopes, as a list or divided by blanks; dots lead into objects.",
    )
    scope_map: Mapping[str, tuple[str, ...]] = Field(
        default={},
        description='Scopes of this service by those of the issuer, such as `{"staff": ["ops"]}`; others count for '
        "nothing then. Without it, scopes are taken as they are.",
    )
    refresh_s: float = Field(default=3600, ge=1, description="How long a key set is used before it is asked for again.")
    min_refresh_s: float = Field(
        default=30,
        ge=1,
        description="Least time between two requests for the key set, in seconds, whatever tokens name.",
    )

    @property
    @override
    def identifies(self) -> bool:
        return self.issuer is not None and not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """Return what is not stated although something of the issuer is; both sources of keys count as none."""
        one_source = (self.keys_url is None) != (self.keys_file is None)
        found = {"issuer": self.issuer is not None, "audience": self.audience is not None, "keys_url": one_source}
        if not any((self.issuer, self.audience, self.keys_url, self.keys_file)):
            return ()
        return tuple(name for name, is_there in found.items() if not is_there)

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        """Yield what is missing; in dev an unfinished configuration is a warning."""
        expected = {"keys_url": "either keys_url or keys_file, beside the issuer"}
        for name in self.missing if environment is not Environment.DEV else ():
            yield Contradiction((name,), expected.get(name, "a value, as tokens are configured"), "set it")
