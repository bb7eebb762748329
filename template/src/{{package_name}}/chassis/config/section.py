"""Section: a frozen group of settings that belongs to the module that declares it."""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .problem import Contradiction


class Environment(StrEnum):
    """Where the service runs; selects the dotenv file and how strict the checks are."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class Section(BaseModel):
    """A group of settings. Every field has a description, which becomes its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _decode_collections(cls, values: Any) -> Any:
        """Read text that stands for a list or a mapping as JSON; environment variables only have text."""
        if not isinstance(values, Mapping):
            return values
        return {name: cls._decoded(name, value) for name, value in values.items()}

    @classmethod
    def _decoded(cls, name: str, value: Any) -> Any:
        field = cls.model_fields.get(name)
        if field is None or not isinstance(value, str) or not is_collection(field.annotation):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value

    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        """Yield what is wrong with these values in this environment, beyond what single fields can say."""
        del environment
        return ()


class ObjectSection(Section):
    """What the settings of every object have in common."""

    provider: str = Field(description="Name of the provider that answers when a request names none.")
    allow_offline: bool = Field(default=False, description="Accept an offline provider in prod.")


class ServiceSection(Section):
    """Settings of the service as a whole; they stand directly under the prefix."""

    environment: Environment = Field(default=Environment.DEV, description="Where the service runs.")
    config_file: Path | None = Field(default=None, description="A TOML file with settings.")
    secrets_dir: Path = Field(
        default=Path("/run/secrets"), description="A folder with one file per setting, named like its variable."
    )


def is_collection(annotation: Any) -> bool:
    """Tell whether a field holds a list, a tuple, a set or a mapping (None allowed beside it)."""
    kinds = (list, tuple, set, frozenset, dict, Mapping)
    candidates = (annotation, get_origin(annotation), *(get_origin(argument) for argument in get_args(annotation)))
    return any(candidate in kinds for candidate in candidates)
