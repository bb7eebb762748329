"""Settings of the HTTP server fit the platforms that it runs on."""

import re
from pathlib import Path

from object_service.capabilities.jobs.settings import JobsSection
from object_service.chassis.web.settings import HttpSection

_USUAL_GRACE_S = 30
_LAST_STEPS_S = 3
"""For the last words to callers and for closing what is open."""


def test_the_service_ends_before_the_platform_loses_patience() -> None:
    """Container platforms usually wait 30 s after SIGTERM, and compose as long as its file says."""
    compose = Path(__file__).parents[3] / "template" / "compose.yaml.jinja"
    graces_s = re.findall(r"stop_grace_period: (\d+)s", compose.read_text(encoding="utf-8"))
    longest_s = HttpSection().shutdown_s + _LAST_STEPS_S

    assert longest_s < _USUAL_GRACE_S
    assert JobsSection().drain_s + _LAST_STEPS_S < _USUAL_GRACE_S  # begun together, see jobs/serving.py
    assert graces_s
    assert longest_s < min(map(int, graces_s))
