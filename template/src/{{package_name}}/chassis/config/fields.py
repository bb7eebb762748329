"""Fields: the settings that a section has, down to the single values, with what is known of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from .sources import SettingPath


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


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names: itself, or the members of its union."""
    candidates = [annotation, *get_args(getattr(annotation, "__value__", annotation))]
    nested = [inner for candidate in candidates[1:] for inner in models_in(candidate)]
    own = [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
    return [*own, *nested]
