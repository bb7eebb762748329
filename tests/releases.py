"""Releases: the template with all its releases as tags, what lies on disk as the next one, and one that is to come.

The one to come holds what no real release has done yet: renamed and moved files, a split, a new and a renamed question,
a capability that has gone.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest

from rendering import Answers, Workshop, commit, copy_files, git, run
from sources import named
from tools import ROOT
from upgrades import releases as told_releases

NAMED = list(named(ROOT))
"""Versions of all releases, oldest first."""
NEXT = told_releases(ROOT / "hooks")[-1].version
"""The version of what lies on disk."""
LATER = "90.0.0"
"""The version of the release that is to come."""
CHANGED = {"ruff.toml": "[lint.pylint]\n", "mypy.ini": "warn_unreachable", "Dockerfile.jinja": "FROM"}
"""Where the release to come has a new line, by file of the template."""
_TOLD = f"""
[[release]]
version = "{LATER}"
before_you_deploy = ["Drain the queue: jobs are gone."]

[release.moves]
"src/{{package}}/chassis/redaction.py" = "src/{{package}}/chassis/redacting.py"
"tests/faults/" = "tests/faulting/"

[release.answers]
region = "anywhere"
owner = "what `author` was"

[release.settings]
"LOG__LEVEL" = "LOG__LOUDNESS"
"HTTP__SHUTDOWN_S" = ""
"""


def releases(workshop: Workshop) -> Path:
    """Return a template with a tag for each release, for what lies on disk and for the one to come."""
    return workshop.once("releases", _build)


def known(workshop: Workshop, version: str, answers: Answers) -> Answers:
    """Return what a release can be told of answers: its questions, and of lists its choices."""
    text = git(releases(workshop), "show", f"v{version}:copier.yml").stdout
    asked = {name: answer for name, answer in answers.items() if re.search(rf"^{name}:$", text, re.MULTILINE)}
    return {
        name: [choice for choice in answer if re.search(rf"^    .+: {choice}$", text, re.MULTILINE)]
        if isinstance(answer, list)
        else answer
        for name, answer in asked.items()
    }


def rendered(workshop: Workshop, version: str, answers: Answers) -> Path:
    """Return a render of a release; read it only."""
    template = releases(workshop)
    name = re.sub(r"\W+", "-", f"{version} {answers}")
    return workshop.once(name, lambda target: render(template, target, version, answers))


def render(template: Path, target: Path, version: str, answers: Answers) -> None:
    """Render a release as its users do."""
    given = [f"--data={name}={value}" for name, value in answers.items()]
    copier = (sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", f"--vcs-ref=v{version}")
    run(template, *copier, *given, str(template), str(target), check=True)


def begin(workshop: Workshop, target: Path, version: str, answers: Answers) -> Path:
    """Return a project of a release of its own, committed."""
    shutil.copytree(rendered(workshop, version, answers), target)
    git(target, "init", "--quiet", "--initial-branch=main")
    commit(target, "Start from the template")
    return target


def _build(target: Path) -> None:
    if git(ROOT, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        pytest.skip("releases are commits of the history, which this checkout does not have: git fetch --unshallow")
    git(ROOT, "clone", "--quiet", "--no-tags", str(ROOT), str(target))
    for version, commit_ in named(ROOT).items():
        git(target, "tag", f"v{version}", commit_)
    git(target, "checkout", "--quiet", "-B", "main")
    git(target, "rm", "--quiet", "-r", ".")
    copy_files(target)
    commit(target, "What lies on disk")
    git(target, "tag", "--force", f"v{NEXT}")
    for change in (_rename, _move, _split, _ask, _remove, _tell):
        change(target)
    commit(target, "What is to come")
    git(target, "tag", f"v{LATER}")


def _rename(template: Path) -> None:
    """Rename a module of the chassis, and change its first line."""
    chassis = template / "template/src/{{package_name}}/chassis"
    text = (chassis / "redaction.py").read_text(encoding="utf-8")
    (chassis / "redacting.py").write_text(text.replace('"""', '"""Later: ', 1), encoding="utf-8")
    (chassis / "redaction.py").unlink()
    _replace(template, r"(\.|\| )redaction\b", r"\1redacting")


def _move(template: Path) -> None:
    """Move a folder."""
    (template / "template/tests/faults").rename(template / "template/tests/faulting")
    _replace(template, r"tests([./])faults\b", r"tests\1faulting")


def _split(template: Path) -> None:
    """Take the end of a page into a page of its own."""
    docs = template / "template/docs"
    text = (docs / "architecture.md.jinja").read_text(encoding="utf-8")
    kept, title, moved = text.partition("## Metrics and traces\n")
    (docs / "architecture.md.jinja").write_text(kept, encoding="utf-8")
    (docs / "metrics.md.jinja").write_text(f"# {title[3:]}{moved}", encoding="utf-8")


def _ask(template: Path) -> None:
    """Ask one question more, and another one by a new name."""
    path = template / "copier.yml"
    text = path.read_text(encoding="utf-8")
    question = "region:\n  type: str\n  help: Where does it run?\n  default: anywhere\n\n"
    assert "\nauthor:\n" in text
    text = text.replace("\nauthor:\n", f"\n{question}owner:\n").replace("author", "owner")
    text = text.replace(
        "  default: The service owners\n", "  default: \"{{ author|default('The service owners') }}\"\n"
    )
    path.write_text(text, encoding="utf-8")
    for file in (template / "template").rglob("*.jinja"):
        old = file.read_text(encoding="utf-8")
        new = re.sub(r"\{[{%].*?[%}]\}", lambda found: re.sub(r"\bauthor\b", "owner", found[0]), old)
        file.write_text(new, encoding="utf-8")
    security = template / "template/docs/architecture.md.jinja"
    security.write_text(security.read_text(encoding="utf-8") + "\nIt runs {{ region }}.\n", encoding="utf-8")


def _remove(template: Path) -> None:
    """Take away the capability `jobs`."""
    path = template / "copier.yml"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\n    Durable jobs .*: jobs", "", text)
    chosen = re.search(r"^chosen_capabilities:\n  type: yaml\n  when: false\n  default: (.*)$", text, re.MULTILINE)
    assert chosen is not None
    path.write_text(
        text.replace(chosen[1], """ "{{ capabilities|reject('eq', 'jobs')|list }}" """.strip()), encoding="utf-8"
    )


def _tell(template: Path) -> None:
    """Change lines of managed files, and say what the release did."""
    for name, place in CHANGED.items():
        path = template / "template" / name
        text = path.read_text(encoding="utf-8")
        assert place in text, name
        path.write_text(text.replace(place, f"# Of the next release.\n{place}", 1), encoding="utf-8")
    with (template / "hooks/upgrades.toml").open("a", encoding="utf-8") as stream:
        stream.write(_TOLD)


def _replace(template: Path, old: str, new: str) -> None:
    changed = 0
    for path in [template / "copier.yml", *(template / "template").rglob("*")]:
        if path.is_file() and path.suffix != ".wav":
            text = path.read_text(encoding="utf-8")
            replaced = re.sub(old, new, text)
            changed += text != replaced
            path.write_text(replaced, encoding="utf-8")
    assert changed > 1, old
