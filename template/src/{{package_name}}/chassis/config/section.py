"""Section: a frozen group of settings that belongs to the module that declares it, and what can be wrong with it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, override

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Problem:
    """What was expected of a variable, where its value came from, and what to do."""

    variable: str
    source: str
    expected: str
    fix: str = "correct it or remove it"

    def __str__(self) -> str:
        """Return one line for a person."""
        return f"{self.variable} ({self.source}): expected {self.expected}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Values that are right one by one and wrong together; `field` is the path below the section."""

    field: tuple[str, ...]
    expected: str
    fix: str = "correct it or remove it"


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable with our prefix that no section has, and the nearest one that exists."""

    variable: str
    did_you_mean: str | None = None


@dataclass(frozen=True, slots=True)
class Formerly:
    """Marks a setting that had another name, which is read until it is removed, on its sunset or later.

    It stands in the annotation: `wait_s: Annotated[float, Formerly("wait", sunset="2027-06-01")]`. The old name is the
    last part of its variable; the parts before it stay.

    Raises:
        ValueError: if the sunset is no date.
    """

    name: str
    sunset: str

    def __post_init__(self) -> None:
        """Refuse what is no date."""
        date.fromisoformat(self.sunset)


def former(field: FieldInfo) -> list[Formerly]:
    """Return the old names of a setting."""
    return [found for found in field.metadata if isinstance(found, Formerly)]


@dataclass(frozen=True, slots=True)
class RenamedVariable:
    """A variable that is stated by its old name; `used` is false when the new one is stated too, which wins."""

    variable: str
    now: str
    sunset: str
    used: bool = True


class ConfigurationError(Exception):
    """The settings cannot be used; carries every problem found, not just the first.

    `unknown`, `missing` and `renamed` are what `Settings` would have carried: the cause of a problem is often there.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        unknown: Sequence[UnknownVariable] = (),
        missing: Sequence[Problem] = (),
        renamed: Sequence[RenamedVariable] = (),
    ) -> None:
        """Keep the problems, ordered by variable."""
        self.problems = tuple(sorted(problems, key=lambda problem: problem.variable))
        self.unknown, self.missing, self.renamed = tuple(unknown), tuple(missing), tuple(renamed)
        super().__init__(str(self))

    def __str__(self) -> str:
        """Return the whole report, a line per problem."""
        count = len(self.problems)
        head = f"configuration: {count} problem{'' if count == 1 else 's'}"
        return "\n".join([head, *(str(problem) for problem in self.problems)])


class Environment(StrEnum):
    """Where the service runs; selects the dotenv file and how strict the checks are."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class Section(BaseModel):
    """A group of settings. Every field has a description, which becomes its documentation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, allow_inf_nan=False
    )

    @classmethod
    @override
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse an old name that another setting has, or one of a whole section."""
        for name, field in cls.model_fields.items():
            for old in former(field):
                whole = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
                if whole or old.name in cls.model_fields:
                    told = "a whole section cannot be renamed" if whole else f"{old.name} is a setting"
                    raise ValueError(f"{cls.__name__}.{name}: {told}")

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
        except (ValueError, RecursionError):
            return value

    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        """Yield what is wrong with these values in this environment, beyond what single fields can say."""
        del environment
        return ()


def all_contradictions(section: Section, environment: Environment) -> Iterator[Contradiction]:
    """Yield the contradictions of a section and of every section inside it."""
    yield from section.contradictions(environment)
    for name in type(section).model_fields:
        inner = getattr(section, name)
        if isinstance(inner, Section):
            for found in all_contradictions(inner, environment):
                yield replace(found, field=(name, *found.field))


class ObjectSection(Section):
    """What the settings of every object have in common."""

    provider: str = Field(description="Name of the provider that answers when a request names none.")
    allow_offline: bool = Field(default=False, description="Accept an offline provider in prod.")


class IdentifyingSection(Section):
    """Settings that may say who can call; `prod` refuses to start when none does."""

    @property
    def identifies(self) -> bool:
        """Tell whether by these settings anybody can call."""
        return False


class LongWorkSection(ObjectSection):
    """What the settings of every object with long work have in common."""

    allow_in_process: bool = Field(default=False, description="Accept in prod that work ends with the process.")


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
