"""What the tests of the template share: the workshop in which projects are rendered and installed once per run."""

import os

import pytest

from rendering import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Return the workshop of this run; workers that run side by side share it."""
    base = tmp_path_factory.getbasetemp()
    return Workshop((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "workshop")
