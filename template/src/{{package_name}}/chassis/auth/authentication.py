"""Authentication: from what a caller shows to who it is; whoever can tell is asked in turn."""

from collections.abc import Awaitable, Callable

from ..config.section import ConfigurationError
from ..config.settings import Settings
from ..container import Container
from ..contracts.context import Principal
from .key_file import KeyFile
from .keys import KeysFileError
from .settings import AuthSection

type Authenticator = Callable[[str], Awaitable[Principal | None]]
"""Returns whose credential it is, or None when it is not one of its own or not valid. It may raise `ServiceError`."""


class Authentication:
    """Who may call. `open` serves everybody, and still recognises those who show something."""

    def __init__(self, *, open: bool) -> None:  # noqa: A002 - as the setting is called
        """Begin without authenticators: nobody is recognised."""
        self.open = open
        self._authenticators: list[Authenticator] = []

    def add(self, authenticator: Authenticator) -> None:
        """Have one more asked, after those before it."""
        self._authenticators.append(authenticator)

    @property
    def possible(self) -> bool:
        """Tell whether anybody can be recognised."""
        return bool(self._authenticators)

    async def identify(self, credential: str) -> Principal | None:
        """Return who shows this credential; None for whom nobody knows."""
        for authenticator in self._authenticators:
            principal = await authenticator(credential)
            if principal is not None:
                return principal
        return None


async def install(container: Container, settings: Settings) -> None:
    """Offer authentication.

    Raises:
        ConfigurationError: if the service is about to serve, and its file of keys cannot be used.
    """
    section = settings[AuthSection]
    authentication = Authentication(open=section.serves_everybody(settings.environment))
    container.provide(Authentication, authentication)
    if section.keys_file is None:
        return
    keys = KeyFile(section.keys_file)
    authentication.add(keys)
    if container.serving:
        try:
            keys.load()
        except KeysFileError as error:
            expected = f"a usable file of API keys ({error})"
            problem = settings.problem(("auth", "keys_file"), expected, "correct it, or write one with `keys new`")
            raise ConfigurationError([problem]) from error
