"""Code lines: how much code a rendered project has, in groups with a budget each."""

import ast
import io
import tokenize
from pathlib import Path

BUDGETS = {
    "chassis_core": 2400,
    "resilience": 1290,
    "http": 255,
    "web": 1340,
    "callers": 460,
    "openapi": 640,
    "cli": 570,
    "telemetry": 600,
    "redis": 600,
    "energy": 465,
    "vendors": 720,
    "seeded": 1300,
    "database": 1300,
    "resources": 1700,
    "jobs": 2080,
    "oidc": 480,
    "outgoing": 335,
    "sample": 150,
    "updates": 730,
}
"""Lines of code at most, per group of a render with everything.

Reasons: docs/explanation/decisions/0013-module-budget.md.
"""

_SEEDED = ("domain", "service", "adapters", "transport", "wiring", "migrations")
_KINDS = {
    "energy": "energy",
    "openai_compatible": "vendors",
    "anthropic_messages": "vendors",
    "pyannote": "vendors",
    "recordings.py": "sample",
    "v0001_recordings.py": "sample",
}
"""Kinds of provider that an owner replaces as a whole."""
_CAPABILITIES = {
    "metrics.py": "telemetry",
    "tracing.py": "telemetry",
    "telemetry.py": "telemetry",
    "spans.py": "telemetry",
    "exporting.py": "telemetry",
    "last_words.py": "telemetry",
    "readiness.py": "telemetry",
    "sampled.py": "telemetry",
    "sampling.py": "telemetry",
    "traces.py": "telemetry",
    "http_client.py": "http",
    "http_failures.py": "http",
    "redis.py": "redis",
    "shared.py": "redis",
    "arrival.py": "callers",
    "bounds.py": "callers",
    "callers.py": "callers",
    "connections.py": "callers",
    "limiting.py": "callers",
    "rates.py": "callers",
}
"""Modules of the chassis that belong to a group of their own, wherever they stand."""


def count_lines(package: Path) -> dict[str, tuple[int, int]]:
    """Return lines and budget per group: of a package, and of the update tool of the project that it lies in.

    A line of code is one that holds more than white space, comment or docstring.
    """
    lines = dict.fromkeys(BUDGETS, 0)
    for file in package.rglob("*.py"):
        group = _group(file.relative_to(package).parts)
        lines[group] += code_lines(file.read_text(encoding="utf-8"))
    tool = package.parent.parent / ".template"
    lines["updates"] = sum(code_lines(file.read_text(encoding="utf-8")) for file in tool.glob("*.py"))
    return {group: (count, BUDGETS[group]) for group, count in lines.items()}


def _group(parts: tuple[str, ...]) -> str:
    if parts[0] in _SEEDED:
        return next((group for name, group in _KINDS.items() if name in parts), "seeded")
    if parts[0] == "capabilities":
        return next((name for name in ("resources", *parts[1:2]) if name in parts and name in BUDGETS), "chassis_core")
    inner = parts[1] if parts[0] == "chassis" else ""
    return _CAPABILITIES.get(parts[-1]) or (inner if inner in BUDGETS else "chassis_core")


def code_lines(source: str) -> int:
    """Return the number of lines of code in one module."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    found: set[int] = set()
    thin = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in thin:
            found.update(range(token.start[0], token.end[0] + 1))
    return len(found - docstrings)
