"""Parameters: what a collection can be asked, in the words of the OpenAPI document.

What the document names is what the routes take: any other parameter is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from ....chassis.contracts.errors import RequestError
from .export import FORMATS
from .pages import DEFAULT_SIZE, MAX_CURSOR_CHARS, MAX_PAGE, MAX_SIZE
from .query import MAX_FILTER_CHARS, MAX_FILTER_VALUES, MAX_SEARCH_CHARS, Grammar

type Parameter = Mapping[str, Any]


def _parameter(name: str, description: str, **schema: object) -> Parameter:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


DELETED = _parameter("include_deleted", "Show deleted records, too.", type="boolean", default=False)
PURGE = _parameter("purge", "Remove it for good, deleted or not.", type="boolean", default=False)
FORMAT = _parameter("format", "Type of the file.", type="string", enum=[*FORMATS], default="csv")
PAGING = (
    _parameter("page", "Number of the page.", type="integer", minimum=1, maximum=MAX_PAGE, default=1),
    _parameter("size", "Most records to return.", type="integer", minimum=1, maximum=MAX_SIZE, default=DEFAULT_SIZE),
    _parameter(
        "after",
        "In place of a page: what `next` said, or nothing to begin. It does not get slower towards the end.",
        type="string",
        maxLength=MAX_CURSOR_CHARS,
    ),
)


def given(request: Request) -> dict[str, str]:
    """Return the parameters of a request.

    Raises:
        RequestError: if one stands there twice.
    """
    items = request.query_params.multi_items()
    found = dict(items)
    if len(found) < len(items):
        name = next(name for name in found if len(request.query_params.getlist(name)) > 1)
        raise RequestError(f"Expected {name} once.", pointer=f"/{name}", location="query")
    return found


def parameters_of(grammar: Grammar, fields: Sequence[str]) -> list[Parameter]:
    """Return what the records of a resource can be chosen, ordered and cut by."""
    asked = [
        _filter(grammar),
        *(
            _parameter(name, f"{field} {_WORDS[operator]} this: {kind.expected}.", **kind.schema)
            for name, (field, operator, _, kind) in grammar.ranges.items()
        ),
        _parameter(
            "sort",
            f"Fields to sort by, separated by commas; a `-` before one turns it round: {', '.join(grammar.sorts)}. "
            "Records without a value come last.",
            type="string",
            pattern=_listed([f"-?{name}" for name in grammar.sorts]),
        ),
        _parameter(
            "fields",
            f"Fields to return, separated by commas: {', '.join(fields)}.",
            type="string",
            pattern=_listed(fields),
        ),
        DELETED,
    ]
    if grammar.search:
        text = f"Words that have to be found in {' or '.join(grammar.search)}, in capitals or not."
        asked.append(_parameter("search", text, type="string", maxLength=MAX_SEARCH_CHARS))
    return asked


def _filter(grammar: Grammar) -> Parameter:
    """Return the parameter that is itself a JSON object."""
    text = (
        f"Values that fields have to have, in at most {MAX_FILTER_CHARS} characters. A list means one of its values, "
        "null that there is none."
    )
    properties = {}
    for name, (column, kind) in grammar.filters.items():
        values = {"type": "array", "minItems": 1, "maxItems": MAX_FILTER_VALUES, "items": kind.schema}
        properties[name] = {"anyOf": [kind.schema, values, *([{"type": "null"}] if column.nullable else [])]}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    content = {"application/json": {"schema": schema}}
    return {"name": "filter", "in": "query", "required": False, "description": text, "content": content}


def _listed(names: Sequence[str]) -> str:
    """Return the pattern of a list of names with commas between them."""
    name = f"({'|'.join(names)})"
    return f"^{name}(,{name})*$"


_WORDS = {"gt": "above", "gte": "at or above", "lt": "below", "lte": "at or below"}
