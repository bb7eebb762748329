"""Schema changes: what a new JSON schema refuses in requests, or adds to answers, that callers of the old one rely on.

A caller sends what the old schema allows: the new one has to accept it (`REQUEST`). A caller reads what the old schema
promises: the new one may promise more fields, and never less (`ANSWER`).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

type Schema = Mapping[str, Any]

REQUEST, ANSWER = "request", "answer"
MIN_DAYS = 180
"""How long something deprecated works at least: six months."""
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_EXACT = ("pattern", "format", "multipleOf", "uniqueItems")


class Finding(NamedTuple):
    """What breaks callers: the rule, the field, and what happened to it."""

    rule: str
    field: str
    text: str

    def below(self, name: str) -> "Finding":
        """Return the finding as one of a field that holds it."""
        return self._replace(field=f"{name}.{self.field}" if self.field else name)


def may_go(part: Schema, today: date) -> bool:
    """Tell whether something was deprecated for six months at least, and its sunset has come."""
    since, sunset = (part.get(name) for name in ("x-deprecated-since", "x-sunset"))
    if not part.get("deprecated") or not isinstance(since, str) or not isinstance(sunset, str):
        return False
    last = date.fromisoformat(sunset)
    return last <= today and (last - date.fromisoformat(since)).days >= MIN_DAYS


class Schemas:
    """The schemas of two documents, compared in one direction; each pair is compared once."""

    def __init__(self, old: Schema, new: Schema, direction: str, today: date) -> None:
        """Compare schemas of two documents, in which their references are found."""
        self._documents = old, new
        self._request = direction == REQUEST
        self._today = today
        self._known: dict[tuple[str, str], Sequence[Finding]] = {}

    def compare(self, old: Schema, new: Schema) -> Sequence[Finding]:
        """Return what breaks callers who know the old schema; a schema that holds itself is compared once."""
        pair = str(old), str(new)
        if pair not in self._known:
            self._known[pair] = ()
            self._known[pair] = tuple(self._unions(old, new))
        return self._known[pair]

    def _unions(self, old: Schema, new: Schema) -> Iterator[Finding]:
        """Find for each alternative that has to be covered the one that covers it, or comes nearest."""
        before, after = self._alternatives(old, 0), self._alternatives(new, 1)
        for one in before if self._request else after:
            pairs = [(one, other) if self._request else (other, one) for other in (after if self._request else before)]
            same = [pair for pair in pairs if pair[0].get("title") and pair[0].get("title") == pair[1].get("title")]
            found = [list(self._single(*pair)) for pair in same or pairs]
            yield from min(found, key=len, default=())

    def _alternatives(self, schema: Schema, side: int) -> list[Schema]:
        """Return what a schema allows, one by one: the members of unions, each type of a list of types."""
        schema = self.resolved(schema, side)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return [one for option in schema[word] for one in self._alternatives(option, side)]
        if "allOf" in schema:
            return [self._merged([self.resolved(part, side) for part in schema["allOf"]])]
        types = schema.get("type")
        return [{**schema, "type": name} for name in types] if isinstance(types, list) else [schema]

    def resolved(self, part: Schema, side: int) -> Schema:
        """Follow a reference inside its document: 0 is the old one, 1 the new one."""
        while "$ref" in part:
            target: Any = self._documents[side]
            for name in part["$ref"].removeprefix("#/").split("/"):
                target = target[name.replace("~1", "/").replace("~0", "~")]
            part = target
        return part

    @staticmethod
    def _merged(parts: Sequence[Schema]) -> Schema:
        merged: dict[str, Any] = {}
        for part in parts:
            fields = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", []), *part.get("required", [])]
            merged |= {**part, "properties": fields, "required": required}
        return merged

    def _single(self, old: Schema, new: Schema) -> Iterator[Finding]:
        wide, narrow = (new, old) if self._request else (old, new)
        if not _covers(wide.get("type"), narrow.get("type")):
            told = f"{old.get('type', 'anything')} became {new.get('type', 'anything')}"
            yield Finding("type-narrowed" if self._request else "type-widened", "", told)
            return
        allowed, needed = _values(wide), _values(narrow)
        if allowed is not None and (needed is None or (more := [one for one in needed if one not in allowed])):
            told = "any value" if needed is None else ", ".join(map(repr, more))
            if self._request:
                yield Finding("value-removed", "", f"no longer takes {told}")
            else:
                yield Finding("value-added", "", f"may be {told} now")
        if self._request:
            yield from _tighter(old, new)
        yield from self._fields(old, new)
        for word in ("items", "additionalProperties"):
            if isinstance(old.get(word), dict) and isinstance(new.get(word), dict):
                yield from (found.below("[]") for found in self.compare(old[word], new[word]))

    def _fields(self, old: Schema, new: Schema) -> Iterator[Finding]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, promised = set(new.get("required", ())), set(old.get("required", ()))
        kind = "request-field" if self._request else "answer-field"
        for name, field in before.items():
            if name in after:
                yield from (found.below(name) for found in self.compare(field, after[name]))
            elif not may_go(self.resolved(field, 0), self._today):
                yield Finding(f"{kind}-removed", name, "is gone")
        if self._request:
            for name in sorted(needed - promised):
                yield Finding("request-field-required", name, "is required now")
            if old.get("additionalProperties", True) is not False and new.get("additionalProperties", True) is False:
                yield Finding("type-narrowed", "", "no longer takes other fields")
        else:
            for name in sorted((promised - needed) & after.keys()):
                yield Finding("answer-field-optional", name, "may be missing now")


def _covers(wide: object, narrow: object) -> bool:
    """Tell whether a type allows all that another one allows; without one, anything is allowed."""
    return wide is None or wide == narrow or (wide, narrow) == ("number", "integer")


def _values(schema: Schema) -> list[Any] | None:
    """Return the only values that a schema allows, or None."""
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _tighter(old: Schema, new: Schema) -> Iterator[Finding]:
    """Yield the bounds of a request that leave less than before."""
    for words, sign in ((_UPPER, 1), (_LOWER, -1)):
        for word in words:
            if word in new and (word not in old or sign * new[word] < sign * old[word]):
                yield Finding("range-narrowed", "", f"{word} is {new[word]}, was {old.get(word, 'not set')}")
    for word in _EXACT:
        if new.get(word) and new[word] != old.get(word):
            yield Finding("range-narrowed", "", f"{word} is {new[word]}, was {old.get(word, 'not set')}")
