"""Checking: builds one section, or says what was expected in words that never repeat the value."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from .section import Contradiction, Problem, RenamedVariable, Section, former
from .sources import SettingPath, Stated, variable_of


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single setting: where it stands and what its declaration says."""

    path: SettingPath
    field: FieldInfo

    @property
    def secret(self) -> bool:
        """Tell whether the value must never be shown."""
        annotation = self.field.annotation
        return annotation is SecretStr or SecretStr in get_args(annotation)


def leaves(model: type[BaseModel], above: SettingPath) -> Iterator[Leaf]:
    """Yield every single setting of a model, through nested models and every variant of a union."""
    seen: set[SettingPath] = set()
    for name, field in model.model_fields.items():
        path = (*above, name)
        variants = models_in(field.annotation)
        found = [leaf for variant in variants for leaf in leaves(variant, path)] if variants else [Leaf(path, field)]
        for leaf in found:
            if leaf.path not in seen:
                seen.add(leaf.path)
                yield leaf


def take_over(settings: Iterable[Leaf], stated: dict[SettingPath, Stated]) -> Iterator[RenamedVariable]:
    """Put what is stated by old names under the new ones, wherever it stands; what has both keeps the new one."""
    for leaf in settings:
        for old in former(leaf.field):
            value = stated.pop((*leaf.path[:-1], old.name), None)
            if value is not None:
                used = stated.setdefault(leaf.path, value) is value
                yield RenamedVariable(value.variable, variable_of(leaf.path), old.sunset, used)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names: itself, or the members of its union."""
    candidates = [annotation, *get_args(getattr(annotation, "__value__", annotation))]
    nested = [inner for candidate in candidates[1:] for inner in models_in(candidate)]
    own = [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
    return [*own, *nested]


_SIMPLE = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": 'a JSON list, such as [1, 2] or ["a", "b"]',
    "tuple_type": 'a JSON list, such as [1, 2] or ["a", "b"]',
    "url_parsing": "a URL such as https://host/path",
    "string_too_short": "a longer text",
}


def problem_at(path: SettingPath, found: Contradiction, stated: Mapping[SettingPath, Stated]) -> Problem:
    """Return a contradiction as the problem of one variable."""
    source = stated[path].source if path in stated else "default"
    return Problem(variable_of(path), source, found.expected, found.fix)


def validate[S: Section](
    model: type[S], above: SettingPath, stated: Mapping[SettingPath, Stated]
) -> tuple[S | None, list[Problem]]:
    """Build one section from what is stated below its path; unknown names are left to the caller."""
    tree: dict[str, Any] = {}
    for leaf in leaves(model, above):
        if leaf.path not in stated:
            continue
        table = tree
        for part in leaf.path[len(above) : -1]:
            table = table.setdefault(part, {})
        table[leaf.path[-1]] = stated[leaf.path].value
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        return None, _explain(error, model, above, stated)


def _explain(
    error: ValidationError, model: type[BaseModel], above: SettingPath, stated: Mapping[SettingPath, Stated]
) -> list[Problem]:
    """Turn the errors of a model into problems that name the variable and where its value came from."""
    described = {leaf.path: leaf for leaf in leaves(model, above)}
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        path = _setting(above, detail["loc"], described)
        source = stated[path].source if path in stated else "default"
        variable = stated[path].variable if path in stated else variable_of(path)
        if detail["type"] == "missing":
            description = described[path].field.description if path in described else None
            problems.append(Problem(variable, source, f"a value ({description or path[-1]})", "set it"))
        else:
            fix = "set it to one of these or remove it" if "expected" in detail.get("ctx", {}) else None
            expected = _expected(detail["type"], detail["msg"], detail.get("ctx", {}))
            problems.append(Problem(variable, source, expected, *([fix] if fix else [])))
    return problems


def _setting(above: SettingPath, location: tuple[int | str, ...], known: Mapping[SettingPath, Any]) -> SettingPath:
    """Drop from an error's location what is not part of a setting's name (tags of unions, indexes)."""
    path = above
    for part in location:
        longer = (*path, str(part))
        if any(leaf[: len(longer)] == longer for leaf in known):
            path = longer
    return path


def _expected(type_: str, message: str, context: Mapping[str, Any]) -> str:
    if type_ in ("literal_error", "enum"):
        return f"one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if type_ == "url_scheme":
        return "a URL that starts with " + re.sub(r"'(\w+)'", r"\1://", context["expected_schemes"])
    if type_ == "value_error":
        return str(context["error"])
    return _SIMPLE.get(type_) or message.removeprefix("Input should be ").removeprefix("Value should have ")
