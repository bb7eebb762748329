"""Response schemas: JSON Schema, checked in this process, offline and in bounded time.

Schemas are read as draft 2020-12, whatever their `$schema` says. They come from callers, so what could make a check
reach out, or take for ever, is refused: references to anything but `#/...`, circles, keywords that are evaluated again
at each level, and regular expressions that need backtracking or, all together, much memory. Names of properties and
data (`const`, `enum`, `default`, `examples`) are no keywords, whatever they look like.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache

from ...chassis.contracts.json import Json

MAX_BYTES = 16 * 1024
"""Longest schema, as compact JSON."""

MAX_SUBSCHEMAS = 1000
"""Most objects in a schema, with each reference counted as what it leads to."""

MAX_DEPTH = 100
"""Deepest nesting, through references too."""

MAX_PATTERNS = 20
"""Most regular expressions in a schema, those for names of properties included."""

_PATTERN_BYTES = 200_000
"""Size of the compiled regular expressions of a schema, shared out evenly."""

_KEPT = 32
"""Schemas that are kept compiled; the worst ones take 50 MB."""

_REFUSED = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef")
_SLOW = ("unevaluatedItems", "unevaluatedProperties")
_SCHEMA, _NAMES, _DATA = "schema", "names", "data"
_INSIDE = {
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), _NAMES),
    **dict.fromkeys(("const", "enum", "default", "examples"), _DATA),
}
"""What is found under a keyword; schemas otherwise."""


class JsonSchema:
    """The language in which schemas of answers are written."""

    def compiled(self, schema: Mapping[str, Json]) -> Callable[[Json], bool]:
        """Return a function that tells whether a value follows a schema.

        Raises:
            ValueError: if the schema is invalid, too large, or leads to anything outside itself; safe to show.
        """
        return _compiled(_canonical(schema))


@lru_cache(_KEPT)
def _compiled(text: bytes) -> Callable[[Json], bool]:
    import jsonschema_rs  # noqa: PLC0415 - 15 MB that a service without response schemas does not load

    document = json.loads(text)
    extent = _Extent(document)
    extent.measure(document)
    if extent.patterns > MAX_PATTERNS:
        raise ValueError(f"expected at most {MAX_PATTERNS} patterns, not {extent.patterns}")
    share = _PATTERN_BYTES // max(1, extent.patterns)
    try:
        # Without backtracking a regular expression takes time in proportion to the text.
        patterns = jsonschema_rs.RegexOptions(size_limit=share, dfa_size_limit=share)
        validator = jsonschema_rs.Draft202012Validator(document, offline=True, pattern_options=patterns)
    except jsonschema_rs.ValidationError as error:
        place = "/".join(map(str, error.instance_path))
        raise ValueError(f"expected valid JSON Schema, draft 2020-12; look at {f'/{place}'[:64]!r}") from None

    def follows(value: Json) -> bool:
        try:
            return validator.is_valid(value)
        except ValueError:
            return False  # nested too deeply

    return follows


def _canonical(schema: Mapping[str, Json]) -> bytes:
    """Return a schema as plain JSON, the same whatever the order of its names."""
    try:
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError):
        raise ValueError("expected plain JSON: finite numbers, whole characters, no endless nesting") from None
    if len(text) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, not {len(text)}")
    return text


class _Extent:
    """How many objects a schema comes to when its references are followed, and how many patterns it has."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._known: dict[tuple[int, str], int | None] = {}
        self.patterns = 0

    def measure(self, part: Json, depth: int = 0, kind: str = _SCHEMA) -> int:
        """Return the number of objects in a part, references included.

        Raises:
            ValueError: for what no check of bounded time can do.
        """
        if not isinstance(part, dict | list):
            return 0
        if depth > MAX_DEPTH:
            raise ValueError(f"expected at most {MAX_DEPTH} levels")
        key = id(part), kind
        if key in self._known:
            count = self._known[key]
            if count is None:
                raise ValueError("expected references without circles")
            return count
        self._known[key] = None
        count = self._of(part, depth + 1, kind)
        if count > MAX_SUBSCHEMAS:
            raise ValueError(f"expected at most {MAX_SUBSCHEMAS} subschemas, each reference counted")
        self._known[key] = count
        return count

    def _of(self, part: dict[str, Json] | list[Json], depth: int, kind: str) -> int:
        if isinstance(part, list):
            return sum(self.measure(item, depth, kind) for item in part)
        if kind != _SCHEMA:
            inside = _SCHEMA if kind == _NAMES else _DATA
            return 1 + sum(self.measure(value, depth, inside) for value in part.values())
        for name in (*_REFUSED, *_SLOW):
            if name in part and (name in _SLOW or isinstance(part[name], str)):
                raise ValueError(f"expected a schema without {name}")
        named = part.get("patternProperties")
        self.patterns += ("pattern" in part) + (len(named) if isinstance(named, dict) else 0)
        count = 1 + sum(self.measure(value, depth, _INSIDE.get(name, _SCHEMA)) for name, value in part.items())
        reference = part.get("$ref")
        return count + (self.measure(self._target(reference), depth) if isinstance(reference, str) else 0)

    def _target(self, reference: str) -> Json:
        found = self._document
        parts = reference.split("/")
        if parts[0] != "#" or "%" in reference:
            raise ValueError("expected references inside the schema only, such as #/$defs/name")
        for name in (part.replace("~1", "/").replace("~0", "~") for part in parts[1:]):
            if not isinstance(found, dict) or name not in found:
                raise ValueError("expected references that lead to something, such as #/$defs/name")
            found = found[name]
        return found
