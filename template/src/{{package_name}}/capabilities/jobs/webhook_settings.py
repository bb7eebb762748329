"""Settings of the webhook that announces the end of long work."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import override

from pydantic import Field, HttpUrl, SecretStr, field_validator

from ...chassis.config.section import Contradiction, Environment, Section
from .webhook_signing import keys_of

_MINUTE_S, _HOUR_S = 60.0, 3600.0


class WebhookSection(Section):
    """Whom to tell that long work has ended; nobody without a URL."""

    url: HttpUrl | None = Field(default=None, description="Where the end of long work is announced; unset, nowhere.")
    secret: SecretStr | None = Field(
        default=None,
        description="What announcements are signed with: whsec_ and base64; while it is exchanged the new and the old "
        "one, separated by a space.",
    )
    timeout_s: float = Field(default=20, gt=0, le=60, description="How long one attempt may take, in seconds.")
    pauses_s: tuple[float, ...] = Field(
        default=(5.0, 5 * _MINUTE_S, 30 * _MINUTE_S, *(hours * _HOUR_S for hours in (2, 5, 10, 14, 20, 24))),
        description="Pauses between attempts, in seconds; after one attempt more than there are pauses, it is given "
        "up until somebody retries it.",
    )
    """Source: Standard Webhooks 1.0.0, "Deliverability and reliability": ten attempts within 75 hours."""

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: HttpUrl | None) -> HttpUrl | None:
        if url is not None and (url.username or url.password or url.fragment):
            raise ValueError("a URL without user, password and fragment; the secret is what proves who sent it")
        return url

    @field_validator("secret")
    @classmethod
    def _keys(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            keys_of(secret.get_secret_value())
        return secret

    @field_validator("pauses_s")
    @classmethod
    def _positive(cls, pauses_s: tuple[float, ...]) -> tuple[float, ...]:
        if any(pause_s <= 0 for pause_s in pauses_s):
            raise ValueError("numbers above 0")
        return pauses_s

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        if self.url is None:
            return
        if self.secret is None:
            yield Contradiction(("secret",), "a secret, as the URL is set", "set both or none")
        if self.url.scheme == "http" and not (environment is Environment.DEV and _is_loopback(self.url.host or "")):
            yield Contradiction(("url",), "a URL with https, except for this machine itself in dev")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
