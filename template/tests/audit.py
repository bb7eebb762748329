"""The audit: known weaknesses of everything that uv.lock names; red, too, when nothing could be checked.

`just audit` runs it. Options go to `uv audit`: `--ignore ID`, `--ignore-until-fixed ID`; `--service-url URL` is another
service with the interface of https://osv.dev.
"""

import json
import subprocess
import sys
import tomllib
import urllib.request
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OSV = "https://api.osv.dev"
KNOWN = ("jinja2", "2.4.1")
"""A version with weaknesses that every service of this kind knows: one that does not name them knows nothing."""
LOCK = Path(__file__).parents[1] / "uv.lock"
CLEAN, WEAK, UNCHECKED = range(3)
_TIMEOUT_S = 30


class UncheckedError(Exception):
    """Nothing can be said about the packages; the text says why."""


def locked() -> int:
    """Return how many packages of an index stand in the lock."""
    if not LOCK.exists():
        raise UncheckedError("uv.lock is missing; `uv sync` writes it")
    packages = tomllib.loads(LOCK.read_text(encoding="utf-8"))["package"]
    count = sum("registry" in package["source"] for package in packages)
    if not count:
        raise UncheckedError("uv.lock names no package of an index")
    return count


def ask_for_the_known(url: str) -> None:
    """Make sure that the service answers, and knows a weakness that is known everywhere."""
    name, version = KNOWN
    question = {"queries": [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version}]}
    request = urllib.request.Request(f"{url}/v1/querybatch", json.dumps(question).encode())  # noqa: S310 - as below
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - whoever runs it says where
            (answer,) = json.load(response)["results"]
    except (OSError, ValueError, KeyError) as error:
        raise UncheckedError(f"{url} gave no answer: {error}") from error
    if not answer.get("vulns"):
        raise UncheckedError(f"{url} knows no weakness of {name} {version}, which has many: it has nothing to tell")


def audited(url: str, options: Sequence[str]) -> Mapping[str, Any]:
    """Return what `uv audit` says of the lock, every package of which it has to have looked at."""
    count = locked()
    ask_for_the_known(url)
    command = ["uv", "audit", "--frozen", "--preview-features=audit-command,json-output", "--output-format=json"]
    command += ["--service-url", url, *options]
    done = subprocess.run(command, cwd=LOCK.parent, capture_output=True, text=True, check=False)  # noqa: S603 - our words
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
        checked: int = report["summary"]["audited_packages"]
    except (ValueError, KeyError) as error:
        raise UncheckedError(done.stderr.strip() or "uv audit said nothing") from error
    if checked < count:
        raise UncheckedError(f"uv audit looked at {checked} of {count} packages")
    return report


def findings(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each weakness, and for each package that its own index warns of."""
    lines = []
    for found in report["vulnerabilities"]:
        package, mended = found["dependency"], ", ".join(found["fix_versions"]) or "no version yet"
        lines.append(f"{package['name']} {package['version']}: {found['summary']} ({found['id']}), mended in {mended}")
    return lines + [f"the index warns: {json.dumps(status)}" for status in report["adverse_statuses"]]


def main(arguments: Sequence[str]) -> int:
    """Print what was found; return 0 when that is nothing, 1 when it is something, 2 when nothing could be checked."""
    parser = ArgumentParser(prog="just audit", add_help=False)
    parser.add_argument("--service-url", default=OSV)
    known, options = parser.parse_known_args(arguments)
    url = known.service_url.rstrip("/")
    try:
        report = audited(url, options)
    except UncheckedError as error:
        sys.stderr.write(f"audit: nothing is known about the packages: {error}\n")
        return UNCHECKED
    lines, checked = findings(report), report["summary"]["audited_packages"]
    last = f"audit: {checked} packages, {len(lines) or 'no'} findings by {url}"
    sys.stdout.write("\n".join([*lines, last]) + "\n")
    return WEAK if lines else CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
