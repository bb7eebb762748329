"""Tokens: callers who show a JWT of an OpenID Connect issuer. Its FEATURE; nothing happens until it is configured."""

import logging

from ...chassis.auth.authentication import Authentication
from ...chassis.config.settings import Settings
from ...chassis.container import Container
from ...chassis.features import Feature
from .settings import OidcSection

_log = logging.getLogger(__name__)


async def install(container: Container, settings: Settings) -> None:
    """Have tokens recognised, if the settings say whose.

    Raises:
        ConfigurationError: if the service is about to serve, and its file of keys cannot be used.
    """
    section = settings[OidcSection]
    if not section.identifies:
        if section.missing:
            _log.warning("oidc_incomplete", extra={"missing": section.missing})
        return
    from .serving import open_tokens  # noqa: PLC0415 - brings joserfc and cryptography

    container[Authentication].add(await open_tokens(container, settings))


FEATURE = Feature(name="oidc", section=OidcSection, install=install, capability=True)
