"""Documents: every link leads somewhere, every path exists, and every command is run as it is written."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from object_service.chassis.web.problems import STATUS
from pages import Reader, blocks, broken_links, is_meant, missing_paths
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
    commit,
    files,
    git,
    run,
    tool,
)
from tools import ROOT, environment

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HOW_TO = ROOT / "docs" / "how-to"
DATA = ("add-a-resource", "back-up-and-restore", "change-tables", "keep-answers", "use-postgresql")
"""Guides for a service with a database; tests/test_database_guides.py follows them."""
JOBS = ("announce-results", "run-jobs")
"""Guides for a service with jobs; tests/test_job_guides.py follows them."""
UPDATES = ("update-a-service", "keep-a-fleet", "fork-for-an-organisation", "adopt-the-template", "leave-the-template")
CHECKS = ("continuous-integration", "secure-the-supply-chain")
"""What is run on a change of a service; tests/test_ci.py and tests/test_supply_chain.py run it."""
CALLERS = ("rotate-keys", "use-tokens")
"""Who may call; tests/test_authentication.py and tests/test_oidc.py hold a service against them."""
OTHERS = ("maintain-the-template", "remove-an-object", *UPDATES, *DATA, *JOBS, *CHECKS, *CALLERS)
"""The first is about this repository, all others have tests of their own."""
GUIDES = [page for page in sorted(HOW_TO.glob("*.md")) if page.stem not in OTHERS]
CONTINUES = {"stream-answers": "add-an-http-provider"}
SELECTIONS = {
    "both": DEFAULT,
    "none": MINIMAL,
    "genai": ONLY_GENAI,
    "diarization": ONLY_DIARIZATION,
    "database": WITH_DATABASE,
    "jobs": FULLEST,
}
GUIDING = ["README.md", *(f"docs/{name}.md" for name in ("README", "getting-started", "providers", "operations"))]
DEPLOYMENT = "docs/deployment.md"
RENDERED = [*GUIDING, "AGENTS.md", "CONTRIBUTING.md", "examples/README.md", "docs/architecture.md", DEPLOYMENT]
MANAGED = ("README", "architecture", "migration", "operations", "providers", "security")
"""Pages of a service that speak of its objects and are the template's."""

PROMISED = {
    "default": (DEFAULT, RENDERED),
    "fullest": (DEPLOYED, [*GUIDING, "docs/migration.md", DEPLOYMENT]),
}
"""Projects whose pages are followed, in this order."""

VARIABLE = re.compile(r"MY_SERVICE_[A-Z_<>]+(?:\.{3})?")
SHORT = re.compile(r"`((?!MY_)[A-Z]+(?:_[A-Z]+)*__[A-Z_]+)(?:=\w+)?`")
FIGURE = re.compile(r"`(MY_SERVICE_[A-Z_]+)` \((\d+)[):]")
METRIC = re.compile(r"`((?:http|adapter|jobs)_[a-z_]+)\b")
PATH = re.compile(r"(?<![\w./>])/(?:livez|readyz|info|metrics|v1/[\w/<>{}.-]+)(?![\w/])")
NOWHERE = "/v1/nothing"
BIN = str(Path(sys.executable).parent)
SKIPPED = {
    "uv run just dev": "it never ends; tests/test_gate.py starts, changes and stops it",
    "uv run just template-status": "it needs a history; tests/test_update_refusals.py runs it where there is one",
    "uv run just update": "as above; tests/test_update_gates.py runs it",
    "uv run just check": "tests/test_gate.py runs it on this very project",
    "uv run just test-unit": "as above",
    "uv run just test-integration": "as above",
    "uv run just api-check": "there is no release; tests/test_api_changes.py runs it where there is one",
    "uv run just audit": "it needs the network; tests/test_supply_chain.py runs it against an answer of its own",
    "uv run just image-test": "it needs a container engine; tests/test_image.py runs it where there is one",
    "docker build ...": "as above; the recipe builds the same file",
    "kubectl ...": "it needs a cluster; tests/test_kubernetes.py holds what it names against the manifests",
    "uv tool install 'copier>=9.19,<10'": "it would install into the home of whoever runs the tests; theirs is used",
    "python3 dev/check.py": "it is what runs this test",
    "python3 dev/check.py tests/chassis": "as above",
    'python3 dev/check.py -m "not gate"': "as above",
}


RELEASED = {"change-the-api": "uv run just api-check"}
"""What a guide can run all the same: it makes what the command needs."""


@pytest.fixture
def reader() -> Iterator[Callable[..., Reader]]:
    """Return a maker of readers; their servers are stopped in the end."""
    made: list[Reader] = []

    def make(folder: Path, skipped: set[str] | None = None, **replaced: str) -> Reader:
        variables = {f"{prefix}_HTTP__PORT": "{port}" for prefix in ("MY_SERVICE", "HELLO_DESK")}
        variables["PATH"] = f"{BIN}:{environment()['PATH']}"
        chosen = SKIPPED if skipped is None else {name: SKIPPED[name] for name in skipped}
        made.append(Reader(folder, variables, chosen, replaced))
        return made[-1]

    yield make
    for person in made:
        person.leave()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_of_the_template_exist(workshop: Workshop, page: Path) -> None:
    """Every relative link and every path that a page names exists, in the template or in a project made from it."""
    projects = [workshop.render(answers) for answers in (DEFAULT, WITH_DATABASE, {"project_name": "Hello Desk"})]
    packages = [package for project in projects for package in (project / "src").iterdir()]
    assert [] == broken_links(page)
    assert [] == missing_paths(page, [ROOT, ROOT / "template", *projects, *packages])


@pytest.mark.parametrize("selection", SELECTIONS)
def test_links_and_paths_of_a_project_exist(workshop: Workshop, selection: str) -> None:
    """Every relative link and every path that a rendered page names exists, for every selection of objects."""
    project = workshop.render(SELECTIONS[selection])
    pages = [page for page in project.rglob("*.md") if ".venv" not in page.parts]
    assert len(pages) >= len(RENDERED)
    roots = [project, project / "src" / "my_service"]
    found = {page.relative_to(project).as_posix(): broken_links(page) + missing_paths(page, roots) for page in pages}
    del found["docs/ownership.md"]  # patterns, of paths that other answers bring too
    assert {} == {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_settings_and_metrics_of_a_project_exist(workshop: Workshop, selection: str) -> None:
    """Every variable that a rendered page names, in full or from its section on, is a setting, and every metric too."""
    project = workshop.render(SELECTIONS[selection])
    docs = {path.name: path.read_text(encoding="utf-8") for path in (project / "docs").glob("*.md")}
    known = set(VARIABLE.findall(docs.pop("settings.md")))
    if selection == "none":  # what its first object will bring
        other = (workshop.render(DEFAULT) / "docs" / "settings.md").read_text(encoding="utf-8")
        known |= {name for name in VARIABLE.findall(other) if "PROVIDERS__" in name}
    ends = {name.partition("PROVIDERS__")[2].partition("__")[2] for name in known if "PROVIDERS__" in name}
    full = workshop.render(DEFAULT if selection == "none" else SELECTIONS[selection])
    told = (full / "docs" / "architecture.md").read_text(encoding="utf-8").partition("\n## Logs\n")[2]
    names = set(re.findall(r"`([a-z_]+)`", told))
    wrong = []
    for page, text in {**docs, "README": (project / "README.md").read_text(encoding="utf-8")}.items():
        for name in VARIABLE.findall(text):
            end = re.sub(r"^MY_SERVICE_PROVIDERS__[A-Z_<>]+?__(?=[A-Z]+(?:__|_[A-Z]+|$))", "", name)
            short = name.removesuffix("...")
            if not any(one == name or (short != name and one.startswith(short)) for one in known) and end not in ends:
                wrong.append(f"{page}: {name}")
        wrong += [
            f"{page}: {name}"
            for name in SHORT.findall(text)
            if not any(one.endswith((f"__{name}", f"SERVICE_{name}")) for one in known)
        ]
        wrong += [f"{page}: {name}" for name in METRIC.findall(text) if name not in names]
    assert [] == wrong


@pytest.mark.parametrize("selection", SELECTIONS)
def test_figures_of_settings_are_their_defaults(workshop: Workshop, selection: str) -> None:
    """A number in brackets behind a setting is what the setting is without being stated."""
    project = workshop.render(SELECTIONS[selection])
    names = ("settings", "deployment", "operations")
    settings, *pages = ((project / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in names)
    defaults = dict(re.findall(r"^\| `(MY_SERVICE_\w+)` \|[^|]*\| `([^`]+)` \|", settings, re.MULTILINE))
    told = [FIGURE.findall(page) for page in pages]
    assert all(told)
    assert [] == [(name, figure) for page in told for name, figure in page if defaults.get(name) != figure]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_codes_of_a_project_have_their_status(workshop: Workshop, selection: str) -> None:
    """The table of what a provider's failure comes to says the status that callers get."""
    text = (workshop.render(SELECTIONS[selection]) / "docs" / "providers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.MULTILINE))
    assert len(rows) >= 8
    assert rows == {code: str(STATUS.get(code)) for code in rows}


EVENT = re.compile(
    r'_log\.\w+(?:\(|, )(?:level, )?"([a-z_]+)"|"(request_\w+)" if|else "(request_\w+)"|"event": "(\w+)"'
)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_table_of_events_is_complete(workshop: Workshop, selection: str) -> None:
    """Every event that the source logs stands in the table, and the table names no other."""
    project = workshop.render(SELECTIONS[selection])
    source = [path.read_text(encoding="utf-8") for path in (project / "src").rglob("*.py")]
    logged = {"".join(found) for text in source for found in EVENT.findall(text)}
    table = (project / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Logs")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    named = {event for row in rows for event in re.findall(r"`([a-z]+_[a-z_]+)`", row.split("|")[2])}
    assert set() == named - logged
    if selection in ("both", "database", "jobs"):
        assert set() == logged - named


@pytest.mark.parametrize("page", ["README.md", "AGENTS.md"])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_first_pages_are_short(workshop: Workshop, selection: str, page: str) -> None:
    """The pages that everybody reads have at most 120 lines."""
    text = (workshop.render(SELECTIONS[selection]) / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120


def test_readme_begins_with_two_commands() -> None:
    """The first block of the README has exactly the two commands that a stranger needs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert ["python3 dev/demo.py", "python3 dev/check.py"] == next(blocks(text)).commands
    assert len(text.splitlines()) <= 120


def test_skipped_commands_are_written_somewhere(workshop: Workshop) -> None:
    """Each command on the list of those that are not run still stands on a page."""
    rendered = [workshop.render(answers) / name for answers, names in PROMISED.values() for name in names]
    written = {
        command
        for page in (*PAGES, *rendered)
        for block in blocks(page.read_text(encoding="utf-8"))
        for command in block.commands
    }
    assert [] == [name for name in SKIPPED if not any(is_meant(command, name) for command in written)]


@pytest.mark.gate
@pytest.mark.parametrize("promised", PROMISED)
def test_project_does_what_its_pages_say(workshop: Workshop, reader: Callable[..., Reader], promised: str) -> None:
    """Every command of the rendered pages works in their order, the answers are those that they show, routes exist."""
    answers, names = PROMISED[promised]
    project = workshop.install(answers, variant="pages", typed=True)
    git(project, "init", "--quiet")
    commit(project, "Start from the template")
    person = reader(project)
    paths = json.loads(tool(project, "my-service", "openapi", "--json").stdout)["paths"]
    routes = [re.sub(r"\{\w+\}", "[^/]+", path) for path in paths]
    for name in names:
        text = (project / name).read_text(encoding="utf-8")
        told = {path for path in PATH.findall(text) if path != NOWHERE}
        assert set() == {path for path in told if not any(re.fullmatch(route, path) for route in routes)}, name
        for block in blocks(text):
            if block.language == "dotenv":
                assert "configuration: ok (dev)\n" == _checked(project, block.text), name
        person.follow(text)
    assert "uv run my-service serve" in person.done
    assert len(person.done) >= 15


def _checked(project: Path, text: str) -> str:
    """Return what the service says of the settings in a block."""
    stated = dict(line.split("=", 1) for line in text.splitlines())
    done = tool(project, "my-service", "config", "check", "--strict", env=stated)
    return done.stdout + done.stderr


@pytest.mark.gate
def test_tutorials_work_from_end_to_end(workshop: Workshop, tmp_path: Path, reader: Callable[..., Reader]) -> None:
    """Whoever follows the tutorials has had a provider of their own that passes the gate, and nothing is left of it."""
    identity = {"git commit": "git -c user.name=Reader -c user.email=reader@example.org commit"}
    person = reader(
        tmp_path,
        {"uv tool install 'copier>=9.19,<10'"},
        **identity,
        **{
            "/absolute/path/of/the/template": str(workshop.template()),
            "uv run just check": "uv run just lint",  # what is untouched is checked in tests/test_gate.py
        },
    )
    person.follow((ROOT / "docs" / "tutorials" / "first-service.md").read_text(encoding="utf-8"))
    person.leave()  # Ctrl+C
    assert "uv run just lint" in person.done
    person.replaced = {}
    person.follow((ROOT / "docs" / "tutorials" / "first-provider.md").read_text(encoding="utf-8"))
    assert 1 == person.done.count("uv run just check")
    assert "" == git(person.folder, "status", "--porcelain").stdout


def test_the_first_provider_has_twelve_lines() -> None:
    """The tutorial keeps its promise; blank lines do not count."""
    text = (ROOT / "docs" / "tutorials" / "first-provider.md").read_text(encoding="utf-8")
    (code,) = (block.text for block in blocks(text) if block.language == "python")
    assert 12 == len([line for line in code.splitlines() if line.strip()])


@pytest.mark.gate
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_guides_do_what_they_say(workshop: Workshop, reader: Callable[..., Reader], page: Path) -> None:
    """Every file that a guide writes, every command and every file of settings that it gives works in a service."""
    project = _repository(workshop, page.stem)
    text, person = page.read_text(encoding="utf-8"), reader(project, set(SKIPPED) - {RELEASED.get(page.stem, "")})
    if page.stem in CONTINUES:
        person.follow((HOW_TO / f"{CONTINUES[page.stem]}.md").read_text(encoding="utf-8"), only_write=True)
    person.follow(text)
    assert person.done
    assert [] == missing_paths(page, [ROOT, ROOT / "template", project, project / "src" / "my_service"], followed=True)
    if page.stem == "tune-resilience":  # its recipes build on each other; tests/test_guides.py knows how
        return
    for block in blocks(text):
        if block.language == "dotenv":
            assert "configuration: ok (dev)\n" == _checked(project, block.text)


def _repository(workshop: Workshop, variant: str, answers: Answers = DEFAULT) -> Path:
    """Return an installed project under version control."""
    project = workshop.install(answers, variant=variant, typed=True)
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project, "Start from the template")
    return project


@pytest.mark.gate
def test_a_vendor_is_two_files(workshop: Workshop, reader: Callable[..., Reader]) -> None:
    """The guide to a vendor edits nothing; what it writes passes lint, its tests and every rule of the last tier."""
    project = _repository(workshop, "vendor")
    text = (HOW_TO / "add-an-http-provider.md").read_text(encoding="utf-8")
    reader(project).follow(text, only_write=True)
    new = ["?? src/my_service/adapters/genai/cohere.py", "?? tests/adapters/genai/test_cohere.py"]
    assert new == git(project, "status", "--porcelain").stdout.splitlines()
    assert "tier=Tier.PRODUCTION" in text
    assert "exempt={" not in text.partition("`tier` is a claim")[0]
    reader(project, set()).follow("```bash\nuv run just lint\nuv run just fmt\n```\n")
    done = tool(project, "pytest", "-q", "-k", "cohere", "tests/conformance", "tests/adapters/genai/test_cohere.py")
    assert re.search(r"\d{2} passed", done.stdout), done.stdout
    assert 0 == done.returncode, done.stdout


def _sections() -> dict[str, str]:
    """Return the parts of the page on removing an object by their headlines."""
    text = (HOW_TO / "remove-an-object.md").read_text(encoding="utf-8")
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in text.split("\n## ")}


@pytest.mark.gate
@pytest.mark.parametrize(
    ("headline", "left"),
    [pytest.param("Diarization", "genai", id="diarization"), pytest.param("Generated text", "diarization", id="genai")],
)
def test_an_object_is_its_files(workshop: Workshop, reader: Callable[..., Reader], headline: str, left: str) -> None:
    """Without the files on the list, a service is one that never had the object, whose gate other tests run."""
    project, expected = _repository(workshop, headline), workshop.render({"objects": [left]})
    person = reader(project)
    person.follow(_sections()[headline])
    for page in ("docs/getting-started.md", "examples/README.md"):  # what its owner writes anew
        shutil.copy2(expected / page, project / page)
    person.follow(_sections()["Then"])
    assert "uv run just fmt" in person.done
    ours, theirs = (
        {name: path.read_bytes() for name, path in files(root).items() if not name.startswith(".") or "env" in name}
        for root in (project, expected)
    )
    words = {"AGENTS.md", "pyproject.toml", "justfile"} | {f"docs/{name}.md" for name in MANAGED}
    assert set(theirs) == set(ours)
    assert [] == [name for name, content in theirs.items() if content != ours[name] and name not in words]
    for command in (["lint-imports"], ["mypy"], ["pytest", "-q", "tests/test_documents.py"]):
        done = tool(project, *command)
        assert 0 == done.returncode, done.stdout


@pytest.mark.gate
def test_a_new_object_goes_without_a_trace(workshop: Workshop, reader: Callable[..., Reader]) -> None:
    """The list for any other object has every file that `new-object` wrote."""
    project = _repository(workshop, "new-object")
    (listed,) = blocks(_sections()["Any other"])
    removal = listed.text.replace("docs/NAME", "docs/meeting-notes").replace("NAME", "meeting_notes")
    person = reader(project)
    person.follow("```bash\nuv run just new-object meeting_notes\n```\n")
    assert "" != git(project, "status", "--porcelain").stdout
    person.follow(f"```bash\n{removal}```\n")
    assert "" == git(project, "status", "--porcelain").stdout


def test_the_index_lists_every_page() -> None:
    """Whoever opens the documents finds each of them."""
    index = ROOT / "docs" / "README.md"
    text = index.read_text(encoding="utf-8")
    pages = [page.relative_to(index.parent).as_posix() for page in PAGES if index.parent in page.parents]
    assert ["README.md"] == [page for page in pages if f"({page})" not in text]


@pytest.mark.gate
def test_readme_starts_a_service(workshop: Workshop, tmp_path: Path, reader: Callable[..., Reader]) -> None:
    """The README of the template leads to a service that answers; its questions are answered by their defaults."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    person = reader(
        tmp_path,
        {"python3 dev/check.py", "uv run just check", "uv run just template-status", "uv run just update"},
        **{
            "python3 dev/demo.py": "true",
            "copier copy /absolute/path/to/this/repository": f"copier copy --defaults --quiet {workshop.template()}",
        },
    )
    person.follow(text)
    assert 1 == len(person.servers)


@pytest.mark.gate
def test_demo_shows_the_main_job(workshop: Workshop, tmp_path: Path) -> None:
    """The first command renders a service, uses it over HTTP, prints both envelopes, stops it and says what is next."""
    template = tmp_path / "template"
    shutil.copytree(workshop.template(), template)
    if (ROOT / ".tools").exists():
        shutil.copytree(
            ROOT / ".tools", template / ".tools", ignore=shutil.ignore_patterns("chromium-*", "npm", "prom*")
        )
    done = run(template, sys.executable, "dev/demo.py", check=True)
    assert 2 == len(re.findall(r'"status": "succeeded"', done.stdout))
    assert '"text": "Hello from the demo"' in done.stdout
    assert re.search(r'"speakers": \[\s*"S1",\s*"S2"\s*\]', done.stdout)
    assert "exit code 0" in done.stdout
    assert "==> Next" in done.stdout
