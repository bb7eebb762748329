"""Settings of authentication."""

from pathlib import Path
from typing import override

from pydantic import Field

from ..config.section import Environment, IdentifyingSection


class AuthSection(IdentifyingSection):
    """Who may call."""

    open: bool | None = Field(
        default=None,
        description="Serve everybody, without credentials; by default true in dev, and false in staging and prod.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="TOML file with the digests of API keys; `keys new` writes it, and a change is taken up at once.",
    )

    @property
    @override
    def identifies(self) -> bool:
        return self.open is True or self.keys_file is not None

    def serves_everybody(self, environment: Environment) -> bool:
        """Tell whether no credentials are asked for."""
        return environment is Environment.DEV if self.open is None else self.open
