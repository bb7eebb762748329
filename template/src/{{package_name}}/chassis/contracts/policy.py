"""Policy: how an object behaves, resolved field by field from levels of different authority."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .envelope import Notice
from .json import Json


@dataclass(frozen=True, slots=True)
class Level:
    """One place where behaviour is stated; only the fields that it really states."""

    name: str
    values: Mapping[str, Json]

    @classmethod
    def of(cls, name: str, **values: Json) -> "Level":
        """Return a level without the fields that are None."""
        return cls(name, {field: value for field, value in values.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome: the value of each stated field, the level it came from, and a notice per override."""

    values: Mapping[str, Json]
    sources: Mapping[str, str]
    notices: tuple[Notice, ...]

    def without(self, field: str, stronger: str) -> "Resolved":
        """Drop a field that contradicts the field `stronger` of a higher level, with a notice like an override."""
        values = {name: value for name, value in self.values.items() if name != field}
        over = f"{self.sources[stronger]} {stronger} {self.values[stronger]}"
        message = f"{field}: {over} over {self.sources[field]} {self.values[field]}"
        return replace(self, values=values, notices=(*self.notices, Notice("policy_overridden", message)))


def resolve(levels: Sequence[Level]) -> Resolved:
    """Let the first level that states a field decide it.

    Levels come highest first (request, profile, settings). Where a lower level states another value, the
    override is reported as a notice with the code `policy_overridden`.
    """
    values: dict[str, Json] = {}
    sources: dict[str, str] = {}
    notices: list[Notice] = []
    for level in levels:
        for field, value in level.values.items():
            if field not in values:
                values[field], sources[field] = value, level.name
            elif values[field] != value:
                message = f"{field}: {sources[field]} {values[field]} over {level.name} {value}"
                notices.append(Notice("policy_overridden", message))
    return Resolved(values, sources, tuple(notices))
