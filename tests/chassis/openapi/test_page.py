"""The page of the document has everything as text."""

from typing import Any

from object_service.chassis.openapi.document import completed
from object_service.chassis.openapi.page import page

MARKUP = "<script>alert(1)</script>"


def test_what_stands_in_the_document_is_text() -> None:
    """Names, descriptions, schemas and examples never become markup."""
    body = {"content": {"application/json": {"schema": {"description": MARKUP}}}}
    operation = {
        "operationId": f"id'{MARKUP}",
        "summary": MARKUP,
        "description": MARKUP,
        "tags": ["things"],
        "deprecated": True,
        "parameters": [{"name": MARKUP, "in": "query", "description": MARKUP}],
        "requestBody": body,
        "responses": {"200": {"description": MARKUP, "content": {}}},
    }
    document: dict[str, Any] = completed(
        {"info": {"title": MARKUP, "version": MARKUP}, "paths": {"/x": {"post": operation}}}, told={"things": MARKUP}
    )
    shown = page(document)

    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 9
    assert "class='gone'" in shown
