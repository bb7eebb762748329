"""Resources: measures what the sample resource costs, beside the same by hand, on both engines and in one run.

Usage: `uv run python benchmarks/resources.py [--json FILE] [--quick] [--project FOLDER] [--engine NAME]`. Linux only.
The service is a rendered project and the control is `resources_control.py`; both are processes with a database of
their own, and are asked in turn over one connection each. CPU is that of the process, without the database server's.
Because the machine may be busy, a ratio is the median of those of many short rounds, and times are the least. With
`--project` an installed project with `database` is measured instead of one rendered here, for which a package index is
needed. `--quick` shows in seconds that everything runs; its figures say nothing.
"""

import argparse
import json
import math
import operator
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from postgresql_server import any_server, fresh_database
from resources_served import Served, control, fill, migrate, service
from tools import ROOT, environment, uv

_BODY = {"title": "An interview of medium length", "language": "en", "duration_s": 12.5, "tags": ["one", "two"]}
_PATH = "/v1/recordings"
_BARS = {
    "list_20_cpu_ratio": 1.25,
    "create_cpu_ratio": 1.25,
    "bulk_cpu_ratio": 3,
    "bulk_over_singles": 1 / 20,
    "bulk_ms": 1000,
    "list_all_cpu_ratio": 1.5,
    "list_all_ms": 100,
    "export_growth_mb": 16,
    "keyset_far_over_near": 1.5,
}
"""What a figure must not be above."""

type Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    rounds: int
    calls: int
    bulk: int
    rows: int


_FULL = Scale(rounds=60, calls=30, bulk=1000, rows=1_000_000)
_QUICK = Scale(rounds=1, calls=2, bulk=50, rows=2_000)


def main() -> None:
    """Print every figure with its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="only show that everything runs")
    parser.add_argument("--project", type=Path, help="an installed project with the capability database")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), nargs="*", default=["sqlite", "postgresql"])
    arguments = parser.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = arguments.project.resolve() if arguments.project else _render(folder / "my-service")
        for engine in arguments.engine:
            with _databases(engine, folder) as (ours, theirs, large):
                scale = _QUICK if arguments.quick else _FULL
                found = _beside(project, ours, theirs, folder, scale) | _large(project, large, folder, scale)
            for key, figure in found.items():
                bar = f"   bar {_BARS[key]:g}" if key in _BARS else ""
                print(f"{engine:<12}{key:<32}{figure:>12.3f}{bar}", flush=True)
                figures[f"{engine}_{key}"] = figure
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _render(project: Path) -> Path:
    copier = str(ROOT / ".venv" / "bin" / "copier")
    answers = ("--data", "capabilities=[database]")
    command = [copier, "copy", "--defaults", "--quiet", "--vcs-ref=HEAD", *answers, str(ROOT), str(project)]
    subprocess.run(command, env=environment(), check=True)
    subprocess.run([str(uv()), "sync", "--quiet"], cwd=project, env=environment(), check=True)
    return project


@contextmanager
def _databases(engine: str, folder: Path) -> Iterator[list[str]]:
    """Yield the URLs of three empty databases."""
    with ExitStack() as stack:
        if engine == "sqlite":
            yield [f"sqlite:///{folder / name}.db" for name in ("ours", "theirs", "large")]
        else:
            server = stack.enter_context(any_server())
            yield [stack.enter_context(fresh_database(server)) for _ in range(3)]


def _beside(project: Path, ours: str, theirs: str, folder: Path, scale: Scale) -> Figures:
    """Measure the service and the control in turn."""
    for url in (ours, theirs):
        migrate(project, url, folder)
        fill(project, url, scale.bulk + scale.calls, folder)
    with service(project, ours, folder) as own, control(project, theirs, folder) as bare:
        pair = {"service": own, "control": bare}
        _refuse_differences(own, bare, scale)
        listed = _in_turn(pair, scale, lambda served: served.ask("GET", f"{_PATH}?page=1&size=20"), scale.calls)
        size = f"{_PATH}?page=1&size={scale.bulk}"
        all_listed = _in_turn(pair, scale, lambda served: served.ask("GET", size), 1)
        made = _in_turn(pair, scale, lambda served: served.ask("POST", _PATH, _BODY, 201), scale.calls)
        many = {"items": [_BODY] * scale.bulk}
        bulk = _in_turn(pair, scale, lambda served: served.ask("POST", f"{_PATH}/$bulk", many), 1)
    figures: Figures = {}
    for name, found in (("list_20", listed), ("create", made), ("bulk", bulk), ("list_all", all_listed)):
        figures |= {f"{name}_{key}": figure for key, figure in found.items()}
    figures["bulk_over_singles"] = figures["bulk_ms"] / (figures["create_ms"] * scale.bulk)
    return figures


def _refuse_differences(own: Served, bare: Served, scale: Scale) -> None:
    """End the run unless both answer the same, apart from ids and times."""
    answers = []
    for served in (own, bare):
        made = served.ask("POST", _PATH, _BODY, 201)
        bulk = served.ask("POST", f"{_PATH}/$bulk", {"items": [_BODY] * 3})
        page = served.ask("GET", f"{_PATH}?page=1&size={scale.bulk}")
        wrong = served.ask("POST", _PATH, {**_BODY, "duration_s": -1}, 422)
        statuses = [item["status"] for item in bulk.document["items"]]
        items = [_plain(item) for item in page.document["items"]]
        counts = {name: page.document[name] for name in ("page", "size", "total")}
        answers.append((_plain(made.document), "etag" in made.headers, statuses, items, counts, wrong.status))
    if answers[0] != answers[1]:
        sys.exit(f"the control does not do the same:\n{str(answers[0])[:1000]}\n{str(answers[1])[:1000]}")


def _plain(document: Mapping[str, object]) -> dict[str, object]:
    """Return a recording with only the names of what differs each time."""
    return {name: name if name in {"id", "created_at", "updated_at"} else value for name, value in document.items()}


def _in_turn(pair: Mapping[str, Served], scale: Scale, once: Callable[[Served], object], calls: int) -> Figures:
    """Return the ratio of CPU per call, and the least CPU and time per call of both."""
    cpu: dict[str, list[float]] = {name: [] for name in pair}
    passed: dict[str, list[float]] = {name: [] for name in pair}
    for _ in range(scale.rounds):
        for name, served in pair.items():
            once(served)
            used, begun = served.cpu_s(), time.perf_counter()
            for _ in range(calls):
                once(served)
            passed[name].append((time.perf_counter() - begun) / calls * 1000)
            cpu[name].append((served.cpu_s() - used) / calls * 1000)
    return {
        "cpu_ratio": statistics.median(map(operator.truediv, cpu["service"], cpu["control"])),
        "cpu_ms": min(cpu["service"]),
        "control_cpu_ms": min(cpu["control"]),
        "ms": min(passed["service"]),
        "control_ms": min(passed["control"]),
    }


def _large(project: Path, url: str, folder: Path, scale: Scale) -> Figures:
    """Measure the service on many rows: what an export occupies, and whether pages cost the same everywhere."""
    migrate(project, url, folder)
    fill(project, url, scale.rows, folder)
    with service(project, url, folder) as own:
        return _keyset(own, scale) | _export(own, scale)


def _keyset(own: Served, scale: Scale) -> Figures:
    """Compare the 20 rows after row 100 with those near the end, which a numbered page has to count its way to."""
    base = f"{_PATH}?sort=-created_at&size="
    near = str(own.ask("GET", f"{base}100&after=").document["next"])
    far, reached = near, 100
    while reached < scale.rows - 40:
        size = min(1000, scale.rows - 40 - reached)
        far = str(own.ask("GET", f"{base}{size}&fields=id&after={_as_cursor(far)}").document["next"])
        reached += size
    asked = {"near": f"{base}20&after={_as_cursor(near)}", "far": f"{base}20&after={_as_cursor(far)}"}
    times = _least_ms(own, asked, scale.rounds * 5)
    ratio = times["far"] / times["near"]
    # The numbered page has rounds of its own: what it displaces from caches would count against what comes next.
    times |= _least_ms(own, {"numbered": f"{base}20&page={scale.rows // 20 - 1}"}, scale.rounds)
    return {"keyset_far_over_near": ratio, **{f"page_{name}_ms": figure for name, figure in times.items()}}


def _least_ms(own: Served, asked: Mapping[str, str], rounds: int) -> Figures:
    """Return the least time that each page of 20 rows took."""
    times = dict.fromkeys(asked, math.inf)
    for _ in range(rounds):
        for name, path in asked.items():
            begun = time.perf_counter()
            items = own.ask("GET", path).document["items"]
            times[name] = min(times[name], (time.perf_counter() - begun) * 1000)
            if len(items) != 20:  # noqa: PLR2004 - as asked for
                sys.exit(f"{path} has {len(items)} rows")
    return times


def _as_cursor(cursor: str) -> str:
    return quote(cursor, safe="")


def _export(own: Served, scale: Scale) -> Figures:
    """Return how much the memory grew while all rows were exported."""
    sizes = [own.resident_mb()]
    used, begun = own.cpu_s(), time.perf_counter()
    size, lines = own.download(f"{_PATH}/$export", lambda: sizes.append(own.resident_mb()))
    passed, spent = time.perf_counter() - begun, own.cpu_s() - used
    if lines != scale.rows + 1:
        sys.exit(f"the export has {lines} lines for {scale.rows} rows")
    return {
        "export_growth_mb": max(sizes) - sizes[0],
        "export_resident_mb": max(sizes),
        "export_mb": size / 1e6,
        "export_s": passed,
        "export_cpu_us_per_row": spent / scale.rows * 1e6,
    }


if __name__ == "__main__":
    main()
