"""Operations: one route of the document with one method, and what can be told of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CODES = "x-codes"
"""Where a route states the problems that are its own; see `web.routes.problems`."""

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `common` are the codes that features add to routes, by method."""

    path: str
    method: str
    document: dict[str, Any]
    common: Mapping[str, tuple[str, ...]]

    @property
    def media_types(self) -> frozenset[str]:
        """The types of body that it takes."""
        return frozenset(self.document.get("requestBody", {}).get("content", ()))

    @property
    def has_json(self) -> bool:
        """Whether a body may be JSON."""
        return any(name.endswith("json") for name in self.media_types)

    @property
    def versioned(self) -> bool:
        """Whether it belongs to the interface that callers build on; the rest is for operators."""
        return self.path.startswith("/v")

    @property
    def secured(self) -> bool:
        """Whether a caller has to say who it is."""
        return any(self.document.get("security", ()))

    @property
    def deprecated(self) -> bool:
        """Whether it will go."""
        return bool(self.document.get("deprecated"))

    @property
    def stated(self) -> tuple[str, ...]:
        """The codes that the route states by itself."""
        answers = self.document["responses"].values()
        return tuple(code for answer in answers for code in answer.get(CODES, ()))

    def takes(self, *places: str) -> bool:
        """Tell whether it has parameters in one of these places."""
        return any(parameter.get("in") in places for parameter in self.document.get("parameters", ()))

    def takes_header(self, name: str) -> bool:
        """Tell whether it reads a header."""
        return any(parameter.get("name") == name for parameter in self.document.get("parameters", ()))


def operations(document: Mapping[str, Any], common: Mapping[str, tuple[str, ...]] | None = None) -> Iterator[Operation]:
    """Yield every operation of a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield Operation(path, method.upper(), operation, common or {})
