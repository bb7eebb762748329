"""The table of faults: a rendered service in front of a provider that fails in every way, and what comes of it."""

from pathlib import Path

import pytest

from rendering import DEFAULT, Workshop, run
from tools import uv

pytestmark = pytest.mark.gate


def _faults(project: Path, *names: str) -> tuple[int, str]:
    done = run(project, str(uv()), "run", "--frozen", "just", "faults", *names)
    return done.returncode, done.stdout


def test_every_fault_comes_to_what_it_should(workshop: Workshop) -> None:
    """The whole table holds, over HTTP, with the service as a process of its own."""
    code, said = _faults(workshop.install(DEFAULT))

    assert "WRONG" not in said
    assert 0 == code, said
    assert said.rstrip().endswith("Every fault came to what it should.")


RESILIENCE = "chassis/resilience"
# What is broken in which module, and the case that shows it.
DEFECTS: dict[str, tuple[str, str, str, str]] = {
    "a retry that never retries": (
        f"{RESILIENCE}/retry.py",
        "for failed in range(1, self._limits.attempts):",
        "for failed in ():",
        "passing",
    ),
    "a retry of what is unclear": (f"{RESILIENCE}/retry.py", " or unclear or begun:", " or begun:", "reset"),
    "a budget that forgives": (f"{RESILIENCE}/retry.py", "if not asked:", "if True:", "silent_outage"),
    "a breaker that never opens": (f"{RESILIENCE}/breaker.py", "if self._too_many():", "if False:", "dies"),
    "a limiter that never limits": (f"{RESILIENCE}/limits.py", "if wait_s > max_wait_s:", "if False:", "too_fast"),
    "metrics that miscount": (
        f"{RESILIENCE}/telemetry.py",
        "figures.succeeded += 1",
        "figures.succeeded += 2",
        "passing",
    ),
    "a log that says nothing": (f"{RESILIENCE}/steps.py", "if _log.isEnabledFor(level):", "if False:", "passing"),
}
"""Every defect is one that such libraries, or this one, had."""


@pytest.mark.parametrize("defect", list(DEFECTS), ids=lambda text: text.replace(" ", "-"))
def test_a_defect_shows_in_the_table(workshop: Workshop, defect: str) -> None:
    """A table that says the same of a broken service would be worth nothing."""
    project = workshop.install(DEFAULT, "faults")
    name, right, wrong, shown_by = DEFECTS[defect]
    module = project / "src" / "my_service" / name
    text = module.read_text(encoding="utf-8")
    assert 1 == text.count(right)
    module.write_text(text.replace(right, wrong), encoding="utf-8")
    try:
        code, said = _faults(project, shown_by)
    finally:
        module.write_text(text, encoding="utf-8")

    assert 1 == code, said
    assert f"WRONG ({shown_by})" in said
