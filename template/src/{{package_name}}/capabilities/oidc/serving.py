"""Serving: puts the parts of tokens together."""

from ...chassis.config.section import ConfigurationError
from ...chassis.config.settings import Settings
from ...chassis.container import Container
from .key_set import KeySet, from_file, from_url
from .settings import OidcSection
from .tokens import Tokens

_FILE_RECHECK_S = 1.0


async def open_tokens(container: Container, settings: Settings) -> Tokens:
    """Return what recognises tokens; a server fetches the keys before its port opens.

    An address that does not answer then is asked again when a token comes.

    Raises:
        ConfigurationError: if a server is to read the keys from a file that has none.
    """
    section = settings[OidcSection]
    if section.keys_file is not None:
        keys = KeySet(from_file(section.keys_file), refresh_s=_FILE_RECHECK_S, min_refresh_s=_FILE_RECHECK_S)
    else:
        fetch = from_url(str(section.keys_url))
        keys = KeySet(fetch, refresh_s=section.refresh_s, min_refresh_s=section.min_refresh_s)
    container.on_close(keys.aclose)
    loaded = await keys.renew() if container.serving else True
    if section.keys_file is not None and not loaded:
        problem = settings.problem(("oidc", "keys_file"), "a file with a key set of public keys")
        raise ConfigurationError([problem])
    return Tokens(section, keys)
