"""Instances: the providers that settings name, each with its kind and the object it belongs to."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .checking import leaves, problem_at, take_over, validate
from .section import Environment, ObjectSection, Problem, RenamedVariable, all_contradictions
from .settings import Instance
from .sources import SettingPath, Stated, variable_of

if TYPE_CHECKING:
    from ..features import Feature
    from ..providers import ProviderConfig, ProviderKind

ROOT = "providers"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    kind: str
    owners: tuple["Feature", ...]
    selected: bool

    @property
    def path(self) -> SettingPath:
        return (ROOT, self.name)

    def definition(self) -> "ProviderKind[Any, Any] | None":
        """Import the kind; None if it is unknown, has several owners or cannot be imported."""
        try:
            return self.imported()
        except ImportError:
            return None

    def imported(self) -> "ProviderKind[Any, Any] | None":
        owner = self.owners[0] if len(self.owners) == 1 else None
        return None if owner is None or owner.catalogue is None else owner.catalogue.kind(self.kind)


def _model(candidate: _Candidate) -> "type[ProviderConfig]":
    """Return the settings of a provider; without a known kind, those that every kind has."""
    from ..providers import ProviderConfig  # noqa: PLC0415 - would be a circle above

    definition = candidate.definition()
    return ProviderConfig if definition is None else definition.config


class Instances:
    """All providers that are configured or selected, checked or not."""

    def __init__(self, features: Sequence["Feature"], stated: dict[SettingPath, Stated]) -> None:
        """Work out name, kind and owner of each, and put what old names state under the new ones."""
        self._stated = stated
        self._middlewares = [name for feature in features for name in feature.middlewares]
        self._features = [feature for feature in features if feature.catalogue is not None]
        self._selected = {feature.name: self._selection(feature) for feature in self._features}
        names = {path[1] for path in stated if path[0] == ROOT and len(path) > len((ROOT, "name"))}
        names |= {name for name in self._selected.values() if self._owners(name)}
        self._candidates = [self._candidate(name) for name in sorted(names)]
        self.missing: list[Problem] = []
        self.renamed: list[RenamedVariable] = []
        for item in self._candidates:
            self.renamed += take_over(leaves(_model(item), item.path), stated)
        self._checked = {candidate.name: self._check(candidate) for candidate in self._candidates}

    @classmethod
    def found(cls, features: Sequence["Feature"], stated: dict[SettingPath, Stated]) -> "Instances":
        """Return the providers that the sources name."""
        return cls(features, stated)

    def _selection(self, feature: "Feature") -> str:
        stated = self._stated.get((feature.name, "provider"))
        return str(stated.value if stated else feature.section.model_fields["provider"].default)

    def _owners(self, kind: str) -> tuple["Feature", ...]:
        return tuple(f for f in self._features if f.catalogue is not None and kind in f.catalogue.names)

    def _candidate(self, name: str) -> _Candidate:
        stated = self._stated.get((ROOT, name, "kind"))
        kind = str(stated.value if stated else name)
        return _Candidate(name, kind, self._owners(kind), name in self._selected.values())

    def _check(self, candidate: _Candidate) -> tuple["ProviderConfig | None", list[Problem]]:
        wrong: list[Problem] = []
        if _NAME.fullmatch(candidate.name) is None:
            sources = (stated.source for path, stated in self._stated.items() if path[:2] == candidate.path)
            expected = "a name of lower-case letters and digits, its words joined by single underscores"
            wrong.append(Problem(variable_of(candidate.path), next(sources, "default"), expected, "rename it"))
        if candidate.definition() is None and (not wrong or (*candidate.path, "kind") in self._stated):
            wrong.append(self._kind_problem(candidate))
        config, problems = validate(_model(candidate), candidate.path, self._stated)
        problems = [problem for problem in problems if problem.variable not in {known.variable for known in wrong}]
        if config is None and not candidate.selected:
            # Only selected providers need to be complete; a wrong value is wrong all the same.
            self.missing += [problem for problem in problems if problem.source == "default"]
            problems = [problem for problem in problems if problem.source != "default"]
        return config and config.model_copy(update={"kind": candidate.kind}), [*wrong, *problems]

    def _kind_problem(self, candidate: _Candidate) -> Problem:
        path = (*candidate.path, "kind")
        source = self._stated[path].source if path in self._stated else "default"
        try:
            candidate.imported()
        except ImportError as error:
            fix = "repair or reinstall what it comes from, or remove its settings"
            return Problem(variable_of(path), source, f"a kind that can be imported; {error}", fix)
        if candidate.owners:
            names = ", ".join(feature.name for feature in candidate.owners)
            fix = f"rename one of the modules: {names} have this kind"
            return Problem(variable_of(path), source, "a kind that one object has", fix)
        kinds = sorted(kind for f in self._features if f.catalogue is not None for kind in f.catalogue.names)
        return Problem(variable_of(path), source, f"one of {', '.join(kinds)}", "set it to one of these or remove it")

    def problems(self) -> Iterable[Problem]:
        """Yield what is wrong with instances and with the selection of each object."""
        for _, problems in self._checked.values():
            yield from problems
        for feature in self._features:
            yield from feature.catalogue.problems if feature.catalogue is not None else ()
            available = self._available(feature)
            if not issubclass(feature.section, ObjectSection) or self._selected[feature.name] in available:
                continue
            path = (feature.name, "provider")
            source = self._stated[path].source if path in self._stated else "default"
            fix = "set it to one of these or remove it"
            yield Problem(variable_of(path), source, f"one of {', '.join(available)}", fix)

    def _available(self, feature: "Feature") -> list[str]:
        kinds = list(feature.catalogue.names) if feature.catalogue is not None else []
        own = [candidate.name for candidate in self._candidates if candidate.owners == (feature,)]
        return sorted({*kinds, *own})

    def offline_problems(self, feature: "Feature") -> Iterable[Problem]:
        """Yield a problem when the selected provider of a feature only works offline."""
        for candidate in self._candidates:
            definition = candidate.definition()
            if candidate.name == self._selected[feature.name] and definition is not None and definition.offline:
                path = (feature.name, "provider")
                source = self._stated[path].source if path in self._stated else "default"
                fix = f"select one, or set {variable_of((feature.name, 'allow_offline'))}=true"
                yield Problem(variable_of(path), source, "a provider that is not offline, in prod", fix)

    def contradictions(self, environment: Environment) -> Iterable[Problem]:
        """Yield what is wrong between the values of one provider, and between providers of one object."""
        complete = [(item, config) for item in self._candidates if (config := self._checked[item.name][0]) is not None]
        for item, config in complete:
            peers = {peer.name: other for peer, other in complete if peer.owners == item.owners}
            # Without one owner nobody knows which names are right.
            wrong = config.unknown_names(item.name, peers, self._middlewares) if item.definition() else ()
            for found in (*all_contradictions(config, environment), *wrong):
                yield problem_at((*item.path, *found.field), found, self._stated)

    def known_paths(self) -> list[SettingPath]:
        """Return every setting that the instances have."""
        return [leaf.path for item in self._candidates for leaf in leaves(_model(item), item.path)]

    def undecided(self) -> set[SettingPath]:
        """Return what is stated beside the common settings of a provider whose kind is wrong: it may be right."""
        unclear = {item.path: _model(item).model_fields for item in self._candidates if item.definition() is None}
        stated = [path for path in self._stated if len(path) > len((ROOT, "name"))]
        return {path for path in stated if path[:2] in unclear and path[2] not in unclear[path[:2]]}

    def usable(self) -> tuple[Instance, ...]:
        """Return the complete instances."""
        found = []
        for candidate in self._candidates:
            config, _ = self._checked[candidate.name]
            if config is not None:
                found.append(Instance(candidate.name, candidate.kind, candidate.owners[0].name, config))
        return tuple(found)
