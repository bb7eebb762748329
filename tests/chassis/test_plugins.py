"""Kinds that installed packages bring: found by their entry points, imported when they are used."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import pytest

from chassis.samples import kinds
from chassis.samples.features import HTTP, WEATHER
from chassis.samples.kinds.remote import KIND as REMOTE
from chassis.samples.kinds.stub import KIND as STUB
from object_service.chassis import plugins
from object_service.chassis.cli.reference import reference_table, unusable_kinds
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError
from object_service.chassis.features import Feature
from object_service.chassis.plugins import PluginError
from object_service.chassis.providers import Catalogue

GROUP = "object_service.kinds"
KIND = "from chassis.samples.kinds.remote import KIND\n"

type Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a package with entry points and one module named like it."""
    plugins._installed.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def package(name: str, code: str, **entries: str) -> None:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{kind} = {value}" for kind, value in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        made.append(module)

    yield package
    plugins._installed.cache_clear()
    for module in made:
        sys.modules.pop(module, None)


def weather() -> Feature:
    """Return the sample object with a catalogue that has not looked around yet."""
    return replace(WEATHER, catalogue=Catalogue(kinds))


@pytest.mark.parametrize("value", ["acme_plugin", "acme_plugin:KIND"], ids=["module", "kind"])
def test_a_package_brings_a_kind(install: Install, value: str) -> None:
    """Its entry point names a module with KIND, or KIND itself; listing imports nothing."""
    install("acme-plugin", KIND, acme=value)
    catalogue: Catalogue[object] = Catalogue(kinds)

    assert ["acme", "remote", "stub"] == list(catalogue.names)
    assert "acme_plugin" not in sys.modules
    assert REMOTE is catalogue.kind("acme")
    assert [] == list(catalogue.problems)


def test_entry_points_are_read_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """All objects share one look at the installed packages."""
    install("acme-plugin", KIND, acme="acme_plugin")
    read = Mock(wraps=metadata.entry_points)
    monkeypatch.setattr(plugins, "entry_points", read)

    assert [True, True] == ["acme" in Catalogue(kinds).names for _ in range(2)]
    read.assert_called_once_with()


def test_a_package_for_another_object_or_service_is_none(install: Install) -> None:
    """The group decides: the package of the service and the object."""
    install("acme-plugin", KIND, acme="acme_plugin")
    folder = ModuleType("chassis.samples.tides")
    folder.__path__ = []

    assert [] == list(Catalogue(folder).names)


@pytest.mark.parametrize(
    ("code", "value", "reason"),
    [
        pytest.param("import absent_sdk\n", "acme_plugin", "ModuleNotFoundError: No module named", id="import"),
        pytest.param("1 / 0\n", "acme_plugin", "ZeroDivisionError: division by zero", id="crash"),
        pytest.param("", "acme_plugin:KIND", "AttributeError: ", id="attribute"),
        pytest.param("", "acme_plugin", "must define KIND = ProviderKind(...)", id="no-kind"),
        pytest.param("KIND = 5\n", "acme_plugin", "must define KIND = ProviderKind(...)", id="other"),
    ],
)
def test_a_broken_package_hurts_nobody_who_does_not_use_it(
    install: Install, code: str, value: str, reason: str
) -> None:
    """Settings load and are documented without it; whoever selects or configures it is told what is wrong."""
    install("acme-plugin", code, acme=value)
    feature = weather()

    assert ["stub"] == [instance.kind for instance in load((HTTP, feature)).instances]
    assert reference_table((HTTP, WEATHER)) == reference_table((HTTP, feature))
    (left_out,) = unusable_kinds((HTTP, feature))
    assert reason in left_out
    with pytest.raises(PluginError, match=re.escape(f"{value} of the package acme-plugin")):
        Catalogue(kinds).kind("acme")
    for stated in [("weather", "provider"), ("providers", "acme", "kind")]:
        with pytest.raises(ConfigurationError) as caught:
            load((HTTP, feature), {stated: "acme"})
        (problem,) = caught.value.problems
        assert "OBJECT_SERVICE_PROVIDERS__ACME__KIND" == problem.variable
        assert f"a kind that can be imported; {value} of the package acme-plugin" in str(problem)
        assert reason in str(problem)


def test_a_name_that_is_taken_by_the_service_is_refused(install: Install) -> None:
    """The report names both places; the kind of the service stays what it is."""
    install("acme-plugin", KIND, stub="acme_plugin")
    feature = weather()

    with pytest.raises(ConfigurationError) as caught:
        load((HTTP, feature))
    (line,) = str(caught.value).splitlines()[1:]
    assert line == (
        "entry point 'stub' of object_service.kinds (acme_plugin of the package acme-plugin): expected a name of its"
        " own; chassis.samples.kinds.stub has the same; rename the entry point or uninstall the package"
    )
    assert [line] == list(unusable_kinds((HTTP, feature)))
    assert STUB is Catalogue(kinds).kind("stub")


def test_a_name_that_two_packages_have_is_refused(install: Install) -> None:
    """Neither of them is chosen by chance."""
    install("acme-plugin", KIND, acme="acme_plugin")
    install("acme-other", KIND, acme="acme_other")

    with pytest.raises(ConfigurationError, match=r"acme_\w+ of the package .*acme_\w+ of the package") as caught:
        load((HTTP, weather()))
    assert all(name in str(caught.value) for name in ("acme-plugin", "acme-other"))
    assert ["remote", "stub"] == list(Catalogue(kinds).names)


@pytest.mark.parametrize("name", ["Acme", "acme-2", "_acme", "acme__x"])
def test_a_name_that_is_no_setting_is_refused(install: Install, name: str) -> None:
    """A kind has to fit into the names of variables."""
    install("acme-plugin", KIND, **{name: "acme_plugin"})

    with pytest.raises(ConfigurationError, match=f"entry point '{name}'.*expected a name of lower-case letters"):
        load((HTTP, weather()))
    assert ["remote", "stub"] == list(Catalogue(kinds).names)
