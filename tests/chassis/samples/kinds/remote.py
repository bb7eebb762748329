"""Remote: a kind behind HTTP, with settings of every shape."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from chassis.doubles import Greeter
from object_service.chassis.config.section import Section
from object_service.chassis.providers import HttpProviderConfig, ProviderKind


class Account(Section):
    """A nested group with a field that must be given."""

    number: int = Field(ge=1, description="Number of the account.")


class RemoteConfig(HttpProviderConfig):
    """Settings of a remote provider."""

    model: str = Field(min_length=1, description="Model to ask for.")
    account: Account = Field(default=Account(number=1), description="Who pays.")
    regions: tuple[str, ...] = Field(default=(), description="Regions to use.")
    labels: Mapping[str, int] | None = Field(default=None, description="Labels to send.")
    mode: Literal["fast", "slow"] = Field(default="fast", description="How to answer.")
    folder: Path | None = Field(default=None, description="Where to cache.")
    pause: timedelta = Field(default=timedelta(seconds=1), description="Pause between calls.")
    second_key: SecretStr | None = Field(default=None, description="A second credential.")


KIND: ProviderKind[RemoteConfig, Greeter] = ProviderKind(RemoteConfig, lambda _config, _resources: Greeter())
