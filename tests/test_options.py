"""The option map: each optional file has one owner, and an option that is off leaves nothing of itself."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from rendering import (
    DEFAULT,
    DEPLOYED,
    FULLEST,
    MINIMAL,
    ONLY_DIARIZATION,
    ONLY_GENAI,
    WITH_DATABASE,
    Answers,
    Workshop,
    files,
    questions,
    tool,
)

CONDITION = re.compile(r"\{% if '(\w+)' not in (\w+)\|default\((\[.*?\])\) %\}(/[^{}]+)\{% endif %\}")
VALUE = re.compile(r"\{% if (?:not )?(\w+)\|default\('(\w*)'\)(?: [!=]= '\w+')? %\}(/[^{}]+)\{% endif %\}")
VALUES = {("ci", "none"), ("code_owners", "")}
"""Answers and values that bring files of their own, and what an update takes them for when it does not know them."""
CI = {
    "github": {
        ".github/pull_request_template.md",
        ".github/workflows/ci.yml",
        ".github/workflows/template.yml",
        "renovate.json",
    },
    "gitlab": {".gitlab-ci.yml", ".gitlab/merge_request_templates/Default.md", "renovate.json"},
    "none": set[str](),
}
OPTIONS = ("genai", "diarization", "database", "jobs", "oidc", "kubernetes")
GONE_WITH = {"database": {"jobs"}}
"""What cannot be without an option."""
WITHOUT: dict[str, Answers] = {
    "genai": {**DEPLOYED, **ONLY_DIARIZATION},
    "diarization": {**DEPLOYED, **ONLY_GENAI},
    "database": {**DEPLOYED, "capabilities": ["oidc"]},
    "jobs": {**DEPLOYED, "capabilities": ["database", "oidc"]},
    "oidc": {**DEPLOYED, "capabilities": ["database", "jobs"]},
    "kubernetes": FULLEST,
}
TOKENS = {
    "genai": r"gen_?ai|(?<!typer\.)\becho\b|openai|prompt|\bgenerations?\b|\bgenerate\b|(?<!add_)completion"
    r"|language model|temperature|max_output",
    "diarization": r"diariz|energy|numpy|wav\b|multipart|speaker|(?<!, )\brecording\b(?![(:])|audio|spool|upload",
    "database": r"database|sqlalchemy|sqlite|postgres|alembic|\bmigrat|/v1/recordings|\bsql\b",
    "jobs": r"dbos|my-service (jobs|worker)|capabilities[./]jobs|JOBS__",
    "oidc": r"oidc|joserfc|\bjwt\b|identity provider",
    "kubernetes": r"kustomiz|kubectl|\bpods?\b|deploy/(base|overlays)",
}
SAME = (".template/", "docs/ownership.md")
"""What updates go by is the same for all answers: it has to know what other answers bring."""
ALLOWED = {
    ("genai", "src/*/chassis/contracts/identity.py"): "the vector of the contract, executed as a doctest",
    ("genai", "src/*/chassis/web/problems.py"): "the status of every code of the contract stands in one table",
    ("diarization", "src/*/chassis/web/problems.py"): "as above",
    ("diarization", "src/*/chassis/work.py"): "uploads are spooled for any object that takes files",
    ("diarization", "src/*/chassis/outgoing/fetching.py"): "what is fetched lies in the spool of any object",
    ("diarization", ".importlinter"): "domain and service never import numpy, whoever brings it",
    ("diarization", ".gitattributes"): "a sound file of the owner is binary too",
    ("diarization", "SECURITY.md"): "uploads of any object are bounded",
    ("diarization", "compose.yaml"): "a read-only container needs a place for the uploads of any object",
    ("diarization", "src/*/chassis/contracts/work.py"): "work of any object may need uploads",
    ("diarization", ".env.example"): "jobs of any object may need uploads",
    ("diarization", "Dockerfile"): "as above",
    ("diarization", ".gitignore"): "as above",
    ("diarization", "docs/settings.md"): "as above",
    ("database", ".importlinter"): "domain and service never import sqlalchemy, whoever brings it",
    ("database", "scaffolds/new.py"): "names that capabilities give to settings, commands and tables are reserved",
    ("oidc", "scaffolds/new.py"): "as above",
    ("database", "tests/proofs/test_promises.py"): "a password in a URL is masked, wherever it leads",
    ("diarization", "tests/proofs/test_processes.py"): "numpy must not be imported, whoever brings it",
}
COMMANDS = {
    "genai": {"generate"},
    "diarization": {"diarize"},
    "database": {"migrate"},
    "jobs": {"jobs", "worker"},
    "oidc": set(),
}
ROUTES = {
    "genai": ("/v1/generations",),
    "diarization": ("/v1/diarizations",),
    "database": ("/v1/recordings", "/v1/audit", "/v1/envelopes"),
    "jobs": ("/v1/jobs",),
    "oidc": (),
}
DEPENDENCIES = {
    "genai": {"jsonschema-rs"},
    "diarization": {"numpy", "python-multipart"},
    "database": {"aiosqlite", "alembic", "asyncpg", "sqlalchemy"},
    "jobs": {"dbos"},
    "oidc": {"joserfc"},
}
COMMON_ROUTES = {"/livez", "/readyz", "/metrics", "/info"}
CASES = [
    pytest.param(DEFAULT, {"genai", "diarization"}, id="both"),
    pytest.param(ONLY_GENAI, {"genai"}, id="genai"),
    pytest.param(ONLY_DIARIZATION, {"diarization"}, id="diarization"),
    pytest.param(MINIMAL, set(), id="none"),
    pytest.param(WITH_DATABASE, {"genai", "diarization", "database"}, id="database"),
    pytest.param({**MINIMAL, **FULLEST}, {"database", "jobs", "oidc"}, id="capabilities"),
    pytest.param({**MINIMAL, "capabilities": ["oidc"]}, {"oidc"}, id="oidc"),
    pytest.param({**MINIMAL, "capabilities": ["jobs"]}, {"database", "jobs"}, id="jobs"),
]


def conditions(template: Path) -> list[tuple[str, str]]:
    """Return owner and pattern of every conditional entry of `_exclude` that belongs to an option."""
    found = []
    for entry in questions(template)["_exclude"]:
        if "{" not in entry or ((value := VALUE.fullmatch(entry)) and value.groups()[:2] in VALUES):
            continue
        match = CONDITION.fullmatch(entry)
        assert match is not None, f"{entry}: expected one guarded condition around one anchored pattern"
        guards = {"objects": f"['{match[1]}']", "chosen_capabilities": "[]", "deploy": "[]"}
        assert guards[match[2]] == match[3], f"{entry}: an update renders it against old answers"
        found.append((match[1], match[4]))
    return found


def matched(project: Path, pattern: str) -> set[str]:
    """Return the files that a pattern of `_exclude` keeps out."""
    found = [path for path in project.glob(pattern.removeprefix("/")) for path in (path, *path.rglob("*"))]
    return {path.relative_to(project).as_posix() for path in found if path.is_file()} & set(files(project))


def test_each_optional_file_has_one_owner(workshop: Workshop) -> None:
    """A pattern names something that exists, has no trailing slash, and no file belongs to two options."""
    project = workshop.render(DEPLOYED)
    owners: dict[str, set[str]] = {}
    for owner, pattern in conditions(workshop.template()):
        assert not pattern.endswith("/")
        assert matched(project, pattern), f"{pattern} matches nothing"
        for name in matched(project, pattern):
            owners.setdefault(name, set()).add(owner)
    assert {} == {name: found for name, found in owners.items() if len(found) > 1}
    assert set(OPTIONS) == set().union(*owners.values())


def test_patterns_do_not_repeat_each_other(workshop: Workshop) -> None:
    """No pattern lies below another one of the same option, and none stands twice."""
    patterns = conditions(workshop.template())
    assert len(set(patterns)) == len(patterns)
    below = [b for owner, a in patterns for other, b in patterns if owner == other and b.startswith(f"{a}/")]
    assert [] == below


@pytest.mark.parametrize("ci", CI)
def test_a_ci_has_its_own_files_only(workshop: Workshop, ci: str) -> None:
    """Beside what every service has, there are the files of the chosen CI; without one there are none."""
    assert CI[ci] == set(files(workshop.render({"ci": ci}))) - set(files(workshop.render(DEFAULT)))


@pytest.mark.parametrize("option", OPTIONS)
def test_option_off_leaves_out_exactly_its_files(workshop: Workshop, option: str) -> None:
    """Without an option its own files are missing and all others are there."""
    full, gone = workshop.render(DEPLOYED), {option, *GONE_WITH.get(option, ())}
    owned = {
        name for owner, pattern in conditions(workshop.template()) if owner in gone for name in matched(full, pattern)
    }
    assert set(files(full)) - owned - {"LICENSE"} == set(files(workshop.render(WITHOUT[option]))) - {"LICENSE"}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("alone", [False, True], ids=["other-on", "all-off"])
def test_option_off_leaves_no_word(workshop: Workshop, option: str, alone: bool) -> None:  # noqa: FBT001 - a case
    """Without an option no rendered file, path or name speaks of it."""
    project = workshop.render(MINIMAL if alone else WITHOUT[option])
    token = re.compile(TOKENS[option], re.IGNORECASE)
    gone = {option, *GONE_WITH.get(option, ())}
    own = set() if alone else set[str]().union(*(_own(workshop, other) for other in set(OPTIONS) - gone))
    found = []
    for name, path in files(project).items():
        if path.suffix == ".wav" or name in own or name.startswith(SAME) or _is_allowed(option, name):
            continue
        lines = [name, *path.read_text(encoding="utf-8").splitlines()]
        found += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines) if token.search(line)]
    assert [] == found


def test_allowances_are_needed(workshop: Workshop) -> None:
    """Every file on the list of allowances still speaks of the option that is off."""
    stale = []
    for option, pattern in ALLOWED:
        project = workshop.render(MINIMAL if option == "database" else {**MINIMAL, **FULLEST})
        texts = [path.read_text(encoding="utf-8") for path in project.glob(pattern)]
        if not any(re.search(TOKENS[option], text, re.IGNORECASE) for text in texts):
            stale.append((option, pattern))
    assert [] == stale


def _own(workshop: Workshop, option: str) -> set[str]:
    full = workshop.render(DEPLOYED)
    return {
        name for owner, pattern in conditions(workshop.template()) if owner == option for name in matched(full, pattern)
    }


def _is_allowed(option: str, name: str) -> bool:
    return any(option == allowed and Path(name).match(pattern) for allowed, pattern in ALLOWED)


@pytest.mark.parametrize(("answers", "on"), CASES)
def test_dependencies_follow_the_options(workshop: Workshop, answers: Answers, on: set[str]) -> None:
    """A project depends on what its options need and on nothing that only others need."""
    project = workshop.render(answers)
    listed = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^A-Za-z0-9-]", entry)[0] for entry in listed}
    optional = set().union(*DEPENDENCIES.values())
    assert set().union(*(DEPENDENCIES[option] for option in on)) == names & optional
    assert sorted(listed) == listed
    assert [] == [entry for entry in listed if not re.fullmatch(r"[a-z0-9-]+(\[[a-z]+\])?>=[0-9.]+,<[0-9.]+", entry)]


@pytest.mark.parametrize(("answers", "on"), CASES)
def test_environment_keys_follow_the_options(workshop: Workshop, answers: Answers, on: set[str]) -> None:
    """The example of an environment file has the sections of the chosen objects only."""
    text = (workshop.render(answers) / ".env.example").read_text(encoding="utf-8")
    sections = {match.lower() for match in re.findall(r"^#?MY_SERVICE_([A-Z]+)__", text, re.MULTILINE)}
    assert on == sections & set(OPTIONS)
    assert {"http", "log"} <= sections


@pytest.mark.gate
@pytest.mark.parametrize(("answers", "on"), CASES)
def test_commands_and_routes_follow_the_options(workshop: Workshop, answers: Answers, on: set[str]) -> None:
    """The command line and the routes are those of the chosen objects."""
    project = workshop.install(answers)
    help_text = tool(project, "my-service", "--help").stdout
    shown = {line.split()[0] for line in help_text.partition("Commands:")[2].splitlines() if line.strip()}
    assert {"serve", "openapi", "config", "keys", "providers", *(name for o in on for name in COMMANDS[o])} == shown
    paths = json.loads(tool(project, "my-service", "openapi", "--json").stdout)["paths"]
    assert COMMON_ROUTES <= set(paths)
    found = {option for option, prefixes in ROUTES.items() if any(path.startswith(prefixes) for path in paths)}
    assert {option for option in on if ROUTES[option]} == found
    assert (
        set()
        == {path for path in paths if not path.startswith(tuple(prefix for o in on for prefix in ROUTES[o]))}
        - COMMON_ROUTES
    )
