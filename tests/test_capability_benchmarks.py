"""The benchmarks of the capabilities: they run, and measure everything that has a bar."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rendering import FULLEST, WITH_DATABASE, Workshop

_BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.gate
def test_one_run_measures_the_service_beside_the_control(workshop: Workshop, tmp_path: Path) -> None:
    """Figures of everything that has a bar are written; the other engine differs by its URL only."""
    engine = "sqlite"
    project, file = workshop.install(WITH_DATABASE), tmp_path / "figures.json"
    options = ["--quick", "--engine", engine, "--project", str(project), "--json", str(file)]
    subprocess.run([sys.executable, str(_BENCHMARKS / "resources.py"), *options], check=True, timeout=600)

    figures = json.loads(file.read_text(encoding="utf-8"))
    measured = ("list_20_cpu_ratio", "create_cpu_ratio", "bulk_cpu_ratio", "bulk_over_singles", "bulk_ms")
    more = ("list_all_cpu_ratio", "list_all_ms", "keyset_far_over_near", "export_mb", "export_s")
    assert {f"{engine}_{name}" for name in (*measured, *more)} <= figures.keys()
    assert all(0 < figures[f"{engine}_{name}"] for name in (*measured, *more))


@pytest.mark.gate
def test_jobs_are_measured_beside_a_service_without(workshop: Workshop, tmp_path: Path) -> None:
    """Start, memory and idling of both shapes are written: jobs in `serve`, and in a worker."""
    projects, file = [str(workshop.install(answers)) for answers in (WITH_DATABASE, FULLEST)], tmp_path / "figures.json"
    options = ["--quick", "--projects", *projects, "--json", str(file)]
    subprocess.run([sys.executable, str(_BENCHMARKS / "jobs.py"), *options], check=True, timeout=600)

    figures = json.loads(file.read_text(encoding="utf-8"))
    measured = ("serve_more_ready_cpu_s", "serve_more_memory_mb", "serve_more_idle_cpu_percent")
    assert {f"{engine}_{name}" for engine in ("sqlite", "postgresql") for name in measured} <= figures.keys()
    assert 0 < figures["postgresql_worker_more_idle_cpu_percent"]
