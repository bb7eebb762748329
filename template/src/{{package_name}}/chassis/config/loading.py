"""Loading: from all sources to checked settings, or to the report of everything that is wrong."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.providers import nearest
from .checking import leaves, problem_at, take_over, validate
from .instances import Instances
from .section import (
    ConfigurationError,
    Contradiction,
    Environment,
    IdentifyingSection,
    LongWorkSection,
    ObjectSection,
    Problem,
    RenamedVariable,
    Section,
    ServiceSection,
    UnknownVariable,
    all_contradictions,
)
from .settings import Settings
from .sources import DELIMITER, Layer, SettingPath, Stated, read_sources, variable_of

if TYPE_CHECKING:
    from ..features import Feature


def load(
    features: Sequence["Feature"], arguments: Mapping[SettingPath, Any] | None = None, directory: Path | None = None
) -> Settings:
    """Read, merge and check all settings; dotenv files are looked up in `directory`, by default the current one.

    Raises:
        ConfigurationError: with every problem of every section.
    """
    layers, problems = read_sources(arguments or {}, directory or Path.cwd())
    stated = _merged(layers)
    sections: dict[type[Section], Section] = {}
    known: list[SettingPath] = []
    declared: list[tuple[SettingPath, type[Section]]] = [((), ServiceSection)]
    declared += [((feature.name,), feature.section) for feature in features]
    renamed: list[RenamedVariable] = []
    for path, model in declared:
        own = list(leaves(model, path))
        known += [leaf.path for leaf in own]
        renamed += take_over(own, stated)
    instances = Instances.found(features, stated)
    known += instances.known_paths()
    renamed += instances.renamed
    for path, model in declared:
        found, wrong = validate(model, path, stated)
        problems += wrong
        if found is not None:
            sections[model] = found
    problems += instances.problems()
    problems += _contradictions(features, sections, instances, stated)
    unknown = tuple(_unknown({path: stated[path] for path in set(stated) - instances.undecided()}, known))
    if problems:
        raise ConfigurationError(problems, unknown, instances.missing, renamed)
    return Settings(sections, instances.usable(), stated, unknown, tuple(instances.missing), tuple(renamed))


def _merged(layers: Iterable[Layer]) -> dict[SettingPath, Stated]:
    merged: dict[SettingPath, Stated] = {}
    for layer in layers:
        for path, stated in layer.items():
            merged.setdefault(path, stated)
    return merged


def _contradictions(
    features: Sequence["Feature"],
    sections: Mapping[type[Section], Section],
    instances: Instances,
    stated: Mapping[SettingPath, Stated],
) -> Iterable[Problem]:
    service = sections.get(ServiceSection)
    environment = service.environment if isinstance(service, ServiceSection) else Environment.DEV
    durable = any(feature.durable for feature in features)
    yield from instances.contradictions(environment)
    if environment is Environment.PROD and _serves_nobody(sections):
        yield problem_at(_NOBODY.field, _NOBODY, stated)
    for feature in features:
        section = sections.get(feature.section)
        if section is None:
            continue
        for found in all_contradictions(section, environment):
            yield problem_at((feature.name, *found.field), found, stated)
        if isinstance(section, ObjectSection) and environment is Environment.PROD and not section.allow_offline:
            yield from instances.offline_problems(feature)
        if environment is Environment.PROD and not durable and _ends_with_the_process(section):
            yield problem_at((feature.name, "allow_in_process"), _IN_PROCESS, stated)


def _serves_nobody(sections: Mapping[type[Section], Section]) -> bool:
    found = [section for section in sections.values() if isinstance(section, IdentifyingSection)]
    return bool(found) and not any(section.identifies for section in found)


_NOBODY = Contradiction(
    ("auth", "keys_file"),
    "a file of API keys in prod, where nobody could call the service otherwise",
    f"set it (`keys new` writes one), or {variable_of(('auth', 'open'))}=true to serve everybody",
)
_IN_PROCESS = Contradiction(
    (), "true in prod, where a restart loses the work of this process", "set it to true if that is acceptable"
)


def _ends_with_the_process(section: Section) -> bool:
    return isinstance(section, LongWorkSection) and not section.allow_in_process


def _unknown(stated: Mapping[SettingPath, Stated], known: Sequence[SettingPath]) -> Iterable[UnknownVariable]:
    # Without the prefix: what all names share would make every two of them look alike.
    names = {DELIMITER.join(path): variable_of(path) for path in known}
    for path in sorted(set(stated) - set(known)):
        near = nearest(DELIMITER.join(path), names)
        yield UnknownVariable(stated[path].variable, near and names[near])
