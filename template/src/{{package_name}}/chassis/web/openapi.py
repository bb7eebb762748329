"""OpenAPI: completes the document that the framework writes, so that it says what this service really answers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .routes import REF_TEMPLATE, ProblemDocument

_GENERIC = re.compile(r"([A-Z][A-Za-z0-9]*)_([A-Z][A-Za-z0-9]*)_")
_NULL = {"type": "null"}
_BODIES = ("requestBody", "parameters")


def completed(document: dict[str, Any]) -> dict[str, object]:
    """Return the document with every schema in its place.

    Schemas that models brought along become components; generic ones get a readable name. What is answered has no
    null: a field is either always there or left out. A union of envelopes is told apart by `status`.
    """
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema(ref_template=REF_TEMPLATE)
    for part in [*_dictionaries(document), *_dictionaries(schemas)]:
        schemas |= part.pop("$defs", {})
    schemas = dict(sorted((_readable(name), schema) for name, schema in schemas.items()))
    document["components"] = {"schemas": schemas}
    for part in _dictionaries(document):
        if isinstance(part.get("$ref"), str):
            part["$ref"] = _readable(part["$ref"])
    asked = _reached(schemas, [operation.get(name) for operation in _operations(document) for name in _BODIES])
    answered = _reached(schemas, [operation["responses"] for operation in _operations(document)])
    for name in answered - asked:
        _complete(schemas, schemas[name])
    return document


def _readable(name: str) -> str:
    """Turn `Envelope_Thing_` into `ThingEnvelope`."""
    return _GENERIC.sub(r"\2\1", name)


def _operations(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _dictionaries(part: object) -> Iterator[dict[str, Any]]:
    """Yield every object inside a part of the document, itself included."""
    if isinstance(part, dict):
        yield part
    if isinstance(part, dict | list):
        for item in part.values() if isinstance(part, dict) else part:
            yield from _dictionaries(item)


def _reached(schemas: Mapping[str, Any], parts: list[Any]) -> set[str]:
    """Return the names of the schemas that parts of the document lead to."""
    found: set[str] = set()
    waiting = parts
    while waiting:
        names = {
            part["$ref"].rpartition("/")[2] for part in _dictionaries(waiting) if isinstance(part.get("$ref"), str)
        }
        waiting = [schemas[name] for name in names - found]
        found |= names
    return found


def _complete(schemas: Mapping[str, Any], schema: dict[str, Any]) -> None:
    """Say of each field whether it is always there, and of a union how to tell its members apart."""
    required = []
    for name, field in schema.get("properties", {}).items():
        options = [option for option in field.get("anyOf", []) if option != _NULL]
        if len(options) == len(field.get("anyOf", [])):
            required.append(name)
        else:
            # Left out when unknown.
            for word in ("anyOf", "default"):
                field.pop(word, None)
            field.update(options[0] if len(options) == 1 else {"anyOf": options})
    if required:
        schema["required"] = required
    members = {status: option for option in schema.get("anyOf", []) if (status := _status(schemas, option))}
    if len(members) > 1:
        schema["oneOf"] = schema.pop("anyOf")
        mapping = {status: option["$ref"] for status, option in members.items()}
        schema["discriminator"] = {"propertyName": "status", "mapping": mapping}


def _status(schemas: Mapping[str, Any], option: Mapping[str, Any]) -> str | None:
    target = schemas.get(str(option.get("$ref")).rpartition("/")[2], {})
    status = target.get("properties", {}).get("status", {}).get("const")
    return None if status is None else str(status)
