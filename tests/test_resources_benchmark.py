"""The benchmark of resources: it runs, and refuses a control that does something else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rendering import Workshop

_SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "resources.py"


@pytest.mark.gate
def test_one_run_measures_the_service_beside_the_control(workshop: Workshop, tmp_path: Path) -> None:
    """Figures of everything that has a bar are written; the other engine differs by its URL only."""
    engine = "sqlite"
    project, file = workshop.install({"capabilities": ["database"]}), tmp_path / "figures.json"
    options = ["--quick", "--engine", engine, "--project", str(project), "--json", str(file)]
    subprocess.run([sys.executable, str(_SCRIPT), *options], check=True, timeout=600)

    figures = json.loads(file.read_text(encoding="utf-8"))
    measured = ("list_20_cpu_ratio", "create_cpu_ratio", "bulk_cpu_ratio", "bulk_over_singles", "bulk_ms")
    more = ("list_all_cpu_ratio", "list_all_ms", "keyset_far_over_near", "export_mb", "export_s")
    assert {f"{engine}_{name}" for name in (*measured, *more)} <= figures.keys()
    assert all(0 < figures[f"{engine}_{name}"] for name in (*measured, *more))
