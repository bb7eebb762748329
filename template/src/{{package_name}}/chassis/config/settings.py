"""Settings: every section and provider after all checks, and how each value came to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .checking import leaves
from .section import Environment, Problem, RenamedVariable, Section, ServiceSection, UnknownVariable
from .sources import SettingPath, Stated, variable_of

if TYPE_CHECKING:
    from ..providers import ProviderConfig


@dataclass(frozen=True, slots=True)
class Instance:
    """A configured provider; `owner` is the feature whose port its kind provides."""

    name: str
    kind: str
    owner: str
    config: "ProviderConfig"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service runs with. Sections are looked up by their type.

    `missing` says why providers that nobody selects cannot be used, `renamed` what is stated by an old name.
    """

    sections: Mapping[type[Section], Section]
    instances: tuple[Instance, ...]
    stated: Mapping[SettingPath, Stated]
    unknown: tuple[UnknownVariable, ...] = ()
    missing: tuple[Problem, ...] = ()
    renamed: tuple[RenamedVariable, ...] = ()

    def __getitem__[S: Section](self, type_: type[S]) -> S:
        """Return a section.

        Raises:
            KeyError: if no feature declares it.
        """
        section = self.sections[type_]
        if not isinstance(section, type_):
            raise KeyError(type_)
        return section

    @property
    def environment(self) -> Environment:
        """Return where the service runs."""
        return self[ServiceSection].environment

    def instances_of(self, feature: str) -> tuple[Instance, ...]:
        """Return the providers that a feature may use."""
        return tuple(instance for instance in self.instances if instance.owner == feature)

    def problem(self, path: SettingPath, expected: str, fix: str = "correct it or remove it") -> Problem:
        """Return what is wrong with a value that turned out to be unusable, with where it came from."""
        source = self.stated[path].source if path in self.stated else "default"
        return Problem(variable_of(path), source, expected, fix)

    def stated_fields(self, section: Section, above: SettingPath) -> dict[str, Any]:
        """Return the values of a section that some source states, by the last part of their names."""
        values: dict[str, Any] = {}
        for leaf in leaves(type(section), above):
            if leaf.path in self.stated:
                value: Any = section
                for part in leaf.path[len(above) :]:
                    value = getattr(value, part)
                values[leaf.path[-1]] = value
        return values
