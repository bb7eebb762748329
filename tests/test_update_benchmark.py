"""The benchmark of updates: it runs, and measures every command beside Copier's own."""

import json
import subprocess
import sys
from pathlib import Path

from tools import ROOT


def test_one_run_measures_every_command(tmp_path: Path) -> None:
    """Each command has its CPU seconds; the ratios are those of the same run."""
    file = tmp_path / "figures.json"
    script = str(ROOT / "benchmarks" / "updates.py")
    subprocess.run([sys.executable, script, "--rounds=1", f"--json={file}"], check=True, capture_output=True)
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert {"version_s", "nothing_s", "copier_s", "update_s", "status_s"} <= figures.keys()
    assert all(0 < figure for figure in figures.values())
    assert figures["update_s"] / figures["copier_s"] == figures["update_over_copier"]
