"""A small API document, changes of which tests plant: two routes, a body, a union of answers, a problem."""

from typing import Any

DATES: dict[str, Any] = {"deprecated": True, "x-deprecated-since": "2026-11-22", "x-sunset": "2027-06-01"}
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/things": {
            "get": {
                "parameters": [{"in": "query", "name": "size", "schema": {"type": "integer", "maximum": 100}}],
                "responses": {"200": {"description": "All"}},
            },
            "post": {
                "x-required-scope": "things",
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Body"}},
                        "text/plain": {"schema": {"type": "string"}},
                    }
                },
                "responses": {
                    "201": {
                        "headers": {"ETag": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                    "409": {
                        "content": {
                            "application/problem+json": {
                                "schema": {
                                    "allOf": [
                                        {"type": "object", "properties": {"title": {"type": "string"}}},
                                        {"properties": {"code": {"enum": ["conflict"]}}},
                                    ]
                                }
                            }
                        }
                    },
                },
            },
        }
    },
    "components": {
        "schemas": {
            "Body": {
                "type": "object",
                "title": "Body",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 80},
                    "kind": {"enum": ["a", "b"], "type": "string"},
                    "weight": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Body"}},
                    "more": {},
                },
            },
            "Thing": {
                "oneOf": [{"$ref": "#/components/schemas/Ready"}, {"$ref": "#/components/schemas/Waiting"}],
            },
            "Ready": {
                "type": "object",
                "title": "Ready",
                "required": ["status", "id"],
                "properties": {
                    "status": {"const": "ready", "type": "string"},
                    "id": {"type": "string"},
                    "colour": {"enum": ["red"], "type": "string"},
                    "inner": {"$ref": "#/components/schemas/Thing"},
                },
            },
            "Waiting": {
                "type": "object",
                "title": "Waiting",
                "required": ["status"],
                "properties": {"status": {"const": "waiting", "type": "string"}},
            },
        }
    },
}


def path(document: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of the only path."""
    operations: dict[str, Any] = document["paths"]["/things"]
    return operations


def body(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of requests."""
    return schema(document, "Body")


def problem(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the only problem."""
    schema: dict[str, Any] = path(document)["post"]["responses"]["409"]["content"]["application/problem+json"]["schema"]
    return schema


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a schema by its name."""
    schema: dict[str, Any] = document["components"]["schemas"][name]
    return schema
