"""Document: completes what the framework writes, so that it says what this service really asks and answers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from ..config.settings import Settings
from ..container import Container
from ..features import Feature
from ..web.app import build_app
from ..web.routes import REF_TEMPLATE, ProblemDocument
from .about import about, tags
from .deprecations import mark_deprecated
from .headers import describe_headers, header_components
from .operations import operations
from .rules import describe_problems, example_of
from .security import SCHEMES, secure

_GENERIC = re.compile(r"([A-Z][A-Za-z0-9]*)_([A-Z][A-Za-z0-9]*)_")
_NULL = {"type": "null"}
_SCHEMAS = REF_TEMPLATE.format(model="")
_BODIES = ("requestBody", "parameters")
_FRAMEWORKS = ("HTTPValidationError", "ValidationError")
"""How the framework would refuse a request; this service answers problems."""


def document_of(settings: Settings, features: Sequence[Feature]) -> dict[str, object]:
    """Return the OpenAPI document of a service that does not run."""
    return openapi_document(build_app(settings, features, Container()))


def openapi_document(app: FastAPI) -> dict[str, object]:
    """Return the OpenAPI document, with everything that features and the service as a whole add to it."""
    features: Sequence[Feature] = app.state.features
    told = {tag: text for feature in features for tag, text in feature.tags.items()}
    common: dict[str, tuple[str, ...]] = {}
    for feature in features:
        for method, codes in feature.problems.items():
            common[method] = (*common.get(method, ()), *codes)
    document = app.openapi()
    secure(document, app)
    mark_deprecated(document, app)
    return completed(document, told=told, common=common)


def completed(
    document: dict[str, Any],
    *,
    told: Mapping[str, str] | None = None,
    common: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, object]:
    """Return the document with every answer, header and schema in its place.

    `told` describes tags, `common` are codes that features add to every route of the versioned interface, by method or
    `*`. Schemas that models brought along become components; generic ones get a readable name. What is answered has no
    null: a field is either always there or left out. A union of envelopes is told apart by `status`.
    """
    codes: set[str] = set()
    for operation in operations(document, common):
        codes |= describe_problems(operation)
        describe_headers(operation)
    schemas = _schemas(document)
    examples = {code: example_of(code) for code in sorted(codes)}
    document["components"] = {"schemas": schemas, **header_components(document), "examples": examples}
    if any(operation.secured for operation in operations(document)):
        document["components"]["securitySchemes"] = SCHEMES
    document["info"] = {**document.get("info", {}), **about()}
    document["servers"] = [{"url": "/", "description": "Where this document comes from."}]
    used = dict.fromkeys(tag for operation in operations(document) for tag in operation.document.get("tags", ()))
    document["tags"] = tags(list(used), told or {})
    document.setdefault("security", [])
    return document


def _schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Return every schema under a readable name, and have the document refer to it."""
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    for name in _FRAMEWORKS:
        schemas.pop(name, None)
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema(ref_template=REF_TEMPLATE)
    for part in [*_dictionaries(document), *_dictionaries(schemas)]:
        schemas |= part.pop("$defs", {})
    schemas = dict(sorted((_readable(name), schema) for name, schema in schemas.items()))
    for part in [*_dictionaries(document["paths"]), *_dictionaries(schemas)]:
        if isinstance(part.get("$ref"), str):
            part["$ref"] = _readable(part["$ref"])
    found = [operation.document for operation in operations(document)]
    asked = _reached(schemas, [operation.get(name) for operation in found for name in _BODIES])
    for name in _reached(schemas, [operation["responses"] for operation in found]) - asked:
        _complete(schemas, schemas[name])
    return schemas


def _readable(name: str) -> str:
    """Turn `Envelope_Thing_` into `ThingEnvelope`."""
    return _GENERIC.sub(r"\2\1", name)


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
        references = [part["$ref"] for part in _dictionaries(waiting) if isinstance(part.get("$ref"), str)]
        names = {found.rpartition("/")[2] for found in references if found.startswith(_SCHEMAS)}
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
