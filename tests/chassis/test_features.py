"""Features are found by looking into folders; what is no feature is refused with its place."""

from pathlib import Path
from types import ModuleType

import pytest

from object_service.chassis.config.loading import load
from object_service.chassis.config.section import Section
from object_service.chassis.container import Container
from object_service.chassis.features import Feature, discover

FEATURE = """
from object_service.chassis.config.section import Section
from object_service.chassis.features import Feature

async def install(container, settings): ...

FEATURE = Feature(name="{name}", section=Section, install=install)
"""


def _folder(tmp_path: Path, package: str, modules: dict[str, str]) -> ModuleType:
    (tmp_path / package).mkdir()
    for name, text in modules.items():
        (tmp_path / package / f"{name}.py").write_text(text)
    folder = ModuleType(package)
    folder.__path__ = [str(tmp_path / package)]
    return folder


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make packages below a folder importable."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_features_come_in_order_of_folder_and_name(importable: Path) -> None:
    """Capabilities first, then objects, each by name."""
    first = _folder(importable, "found_a", {"z": FEATURE.format(name="z"), "y": FEATURE.format(name="y")})
    second = _folder(importable, "found_b", {"a": FEATURE.format(name="a")})

    assert ["y", "z", "a"] == [feature.name for feature in discover(first, second)]


async def test_a_feature_may_have_neither_settings_nor_instances() -> None:
    """Its name is enough: it has no variables, and puts nothing into the container."""
    feature = Feature(name="plain")
    settings = load([feature, Feature(name="other")])

    async with Container() as container:
        await feature.install(container, settings)

    assert Section() == settings[feature.section]
    assert () == settings.unknown


@pytest.mark.parametrize("text", ["", "FEATURE = 'genai'"], ids=["missing", "other"])
def test_a_module_without_a_feature_is_named(importable: Path, text: str) -> None:
    """Whoever adds a module and forgets FEATURE is told where."""
    package = f"unfound_{len(text)}"
    folder = _folder(importable, package, {"invoices": text})

    with pytest.raises(TypeError, match=rf"{package}\.invoices must define FEATURE = Feature\(\.\.\.\)"):
        discover(folder)


def test_two_features_of_one_name_are_refused(importable: Path) -> None:
    """Their variables would be the same."""
    first = _folder(importable, "twice_a", {"x": FEATURE.format(name="same")})
    second = _folder(importable, "twice_b", {"y": FEATURE.format(name="same")})

    with pytest.raises(TypeError, match=r"twice_b\.y: another feature is named 'same' already"):
        discover(first, second)


def test_an_empty_folder_has_no_features(importable: Path) -> None:
    """A service without capabilities is a service."""
    assert () == discover(_folder(importable, "empty_folder", {}))
