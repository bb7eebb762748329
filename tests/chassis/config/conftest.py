"""The places where the settings of a test stand."""

from pathlib import Path

import pytest

from chassis.config.sources import Places


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Places:
    """Return empty places."""
    return Places(monkeypatch, tmp_path)
