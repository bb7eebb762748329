"""API changes: what would break callers of the last release, found in its OpenAPI document and in that of now.

`just api-check` compares what the service prints with `docs/openapi.json`; `just api-snapshot` writes that file at each
release. What was deprecated for six months may go after its sunset. Exit codes: 0 when nothing breaks callers, 1 when
something does, 2 when nothing could be compared.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TextIO

from .schema_changes import ANSWER, REQUEST, Finding, Schemas, may_go

type Document = Mapping[str, Any]

SNAPSHOT = Path(__file__).parents[1] / "docs" / "openapi.json"
SAME, BREAKING, NOT_COMPARED = range(3)
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_FIRST_ERROR = 400


class NotComparedError(Exception):
    """Nothing can be said about the API; the text says why, and what to do."""


class Comparison:
    """Two documents of one service, the one of the last release and the one of now."""

    def __init__(self, old: Document, new: Document, today: date) -> None:
        """Compare two documents on a day."""
        self._old, self._new, self._today = old, new, today
        self._asked = Schemas(old, new, REQUEST, today)
        self._answered = Schemas(old, new, ANSWER, today)

    def findings(self) -> Iterator[tuple[str, Finding]]:
        """Yield what breaks callers, with the method and path that it is about."""
        for path, item in self._old["paths"].items():
            methods = self._new["paths"].get(path)
            for method in [name for name in _METHODS if name in item]:
                old, new = item[method], (methods or {}).get(method)
                if new is not None:
                    yield from ((f"{method.upper()} {path}", found) for found in self._operation(old, new))
                elif not may_go(old, self._today):
                    rule = "route-removed" if methods is None else "method-removed"
                    yield f"{method.upper()} {path}", Finding(rule, "", "is gone")

    def _operation(self, old: Document, new: Document) -> Iterator[Finding]:
        before, after = old.get("x-required-scope"), new.get("x-required-scope")
        if before != after or (new.get("security") and not old.get("security")):
            yield Finding("scope-changed", "", f"needs the scope {after}, needed {before}")
        yield from self._parameters(old, new)
        yield from (found.below("body") for found in self._bodies(old, new))
        for status, answer in old.get("responses", {}).items():
            if status not in new.get("responses", {}):
                yield Finding("status-removed", status, "is no longer answered")
                continue
            found = self._answers(answer, new["responses"][status])
            for one in found:
                # Callers have to expect new codes of problems.
                if one.rule != "value-added" or not _is_error(status):
                    yield one.below(status)
        for status in new.get("responses", {}):
            if status not in old.get("responses", {}) and not _is_error(status):
                yield Finding("status-added", status, "is a new way to succeed")

    def _parameters(self, old: Document, new: Document) -> Iterator[Finding]:
        before, after = self._named(old, 0), self._named(new, 1)
        for key, parameter in before.items():
            name = " ".join(key)
            if key in after:
                yield from (found.below(name) for found in self._asked.compare(_schema(parameter), _schema(after[key])))
                if after[key].get("required") and not parameter.get("required"):
                    yield Finding("parameter-required", name, "is required now")
            elif not may_go(parameter, self._today):
                yield Finding("parameter-removed", name, "is gone")
        for key in after.keys() - before.keys():
            if after[key].get("required"):
                yield Finding("parameter-required", " ".join(key), "is new and required")

    def _named(self, operation: Document, side: int) -> dict[tuple[str, str], Document]:
        listed = [self._asked.resolved(one, side) for one in operation.get("parameters", ())]
        return {(one["in"], one["name"]): one for one in listed}

    def _bodies(self, old: Document, new: Document) -> Iterator[Finding]:
        before = self._asked.resolved(old.get("requestBody", {}), 0)
        after = self._asked.resolved(new.get("requestBody", {}), 1)
        if after.get("required") and not before.get("required"):
            yield Finding("body-required", "", "is required now")
        for kind, content in before.get("content", {}).items():
            if kind not in after.get("content", {}):
                yield Finding("media-type-removed", kind, "is no longer taken")
            else:
                yield from self._asked.compare(_schema(content), _schema(after["content"][kind]))

    def _answers(self, old: Document, new: Document) -> Iterator[Finding]:
        before, after = self._answered.resolved(old, 0), self._answered.resolved(new, 1)
        for name in before.get("headers", {}):
            if name not in after.get("headers", {}):
                yield Finding("header-removed", name, "is gone")
        for kind, content in before.get("content", {}).items():
            if kind not in after.get("content", {}):
                yield Finding("media-type-removed", kind, "is no longer answered")
            else:
                yield from self._answered.compare(_schema(content), _schema(after["content"][kind]))


def breaking(old: Document, new: Document, today: date) -> list[str]:
    """Return a line for each change that breaks callers: method and path, field, what happened, rule."""
    lines = []
    for operation, found in Comparison(old, new, today).findings():
        where = f"{operation}: {found.field}" if found.field else operation
        lines.append(f"{where} {found.text} [{found.rule}]")
    return sorted(set(lines))


def _is_error(status: str) -> bool:
    return not status.isdecimal() or int(status) >= _FIRST_ERROR


def _schema(part: Document) -> Document:
    found: Document = part.get("schema", {})
    return found


def _document(text: str, whose: str) -> Document:
    try:
        document: Document = json.loads(text)
        document["paths"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotComparedError(f"{whose} is no OpenAPI document") from error
    return document


def run(words: Sequence[str], printed: TextIO, snapshot: Path, today: date) -> list[str]:
    """Keep what the service printed as the document of a release, or return what breaks callers of the one kept."""
    new = _document(printed.read(), "what the service printed")
    if "--snapshot" in words:
        snapshot.write_text(json.dumps(new, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return []
    if not snapshot.exists():
        raise NotComparedError("docs/openapi.json is missing; begin with `just api-snapshot`, and commit it")
    return breaking(_document(snapshot.read_text(encoding="utf-8"), "docs/openapi.json"), new, today)


def main(words: Sequence[str]) -> int:
    """Print what breaks callers, and return the exit code."""
    try:
        lines = run(words, sys.stdin, SNAPSHOT, datetime.now(UTC).date())
    except NotComparedError as error:
        sys.stderr.write(f"api-check: nothing was compared: {error}\n")
        return NOT_COMPARED
    if "--snapshot" not in words:
        sys.stdout.write("\n".join([*lines, f"api-check: {len(lines) or 'no'} changes break callers"]) + "\n")
    return BREAKING if lines else SAME


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
