"""Documents: every link leads somewhere, every path exists, and every command is run as it is written."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pages import Reader, blocks, broken_links, missing_paths
from rendering import DEFAULT, MINIMAL, ONLY_DIARIZATION, ONLY_GENAI, Workshop, run
from tools import ROOT, environment

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GUIDES = [page for page in sorted((ROOT / "docs" / "how-to").glob("*.md")) if page.stem != "maintain-the-template"]
"""What to do in a service; that one page is about this repository, and its commands are below."""
SELECTIONS = {"both": DEFAULT, "none": MINIMAL, "genai": ONLY_GENAI, "diarization": ONLY_DIARIZATION}
RENDERED = ["README.md", "AGENTS.md", "CONTRIBUTING.md", "examples/README.md", "docs/architecture.md"]
BIN = str(Path(sys.executable).parent)
SKIPPED = {
    "uv run just dev": "it never ends; tests/test_gate.py starts, changes and stops it",
    "uv run just check": "tests/test_gate.py runs it on this very project",
    "uv run just test-unit": "as above",
    "uv run just test-integration": "as above",
    "uv tool install 'copier>=9.19,<10'": "it would install into the home of whoever runs the tests; theirs is used",
    'git tag --annotate v0.1.0 --message "v0.1.0"': "it publishes a release; tests/test_update.py tags a copy",
    "git push origin v0.1.0": "as above",
    "python3 dev/check.py": "it is what runs this test",
    "python3 dev/check.py tests/chassis": "as above",
    'python3 dev/check.py -m "not gate"': "as above",
}


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
    projects = [workshop.render(answers) for answers in (DEFAULT, {"project_name": "Hello Desk"})]
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
    assert {} == {name: wrong for name, wrong in found.items() if wrong}


EVENT = re.compile(r'_log\.\w+\((?:level, )?"([a-z_]+)"|"(request_\w+)" if|else "(request_\w+)"')


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
    if selection == "both":
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
    project = workshop.render(DEFAULT)
    pages = [*PAGES, *(project / name for name in RENDERED)]
    written = {
        command for page in pages for block in blocks(page.read_text(encoding="utf-8")) for command in block.commands
    }
    assert set() == set(SKIPPED) - written


@pytest.mark.gate
def test_project_does_what_its_pages_say(workshop: Workshop, reader: Callable[..., Reader]) -> None:
    """Every command of the rendered pages works in their order, and the answers are those that they show."""
    project = workshop.install(DEFAULT, variant="pages")
    run(project, "git", "init", "--quiet", check=True)
    person = reader(project)
    for name in RENDERED:
        person.follow((project / name).read_text(encoding="utf-8"))
    assert {"uv run my-service serve", "uv run just setup"} <= set(person.done)
    assert len(person.done) >= 15


@pytest.mark.gate
def test_tutorial_works_from_end_to_end(workshop: Workshop, tmp_path: Path, reader: Callable[..., Reader]) -> None:
    """Whoever follows the tutorial has a service with a provider of their own that passes its gate."""
    identity = {"git commit": "git -c user.name=Reader -c user.email=reader@example.org commit"}
    person = reader(
        tmp_path,
        {"uv tool install 'copier>=9.19,<10'"},
        **identity,
        **{"/absolute/path/of/the/template": str(workshop.template())},
    )
    person.follow((ROOT / "docs" / "tutorials" / "first-service.md").read_text(encoding="utf-8"))
    assert 2 == person.done.count("uv run just check")
    assert "HELLO_DESK_PROVIDERS__SHOUT__MARK" in (person.folder / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.mark.gate
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_guides_do_what_they_say(workshop: Workshop, reader: Callable[..., Reader], page: Path) -> None:
    """Every file that a guide writes and every command that it gives works in a rendered service."""
    person = reader(workshop.install(DEFAULT, variant=page.stem))
    person.follow(page.read_text(encoding="utf-8"))
    assert person.done


@pytest.mark.gate
def test_readme_starts_a_service(workshop: Workshop, tmp_path: Path, reader: Callable[..., Reader]) -> None:
    """The README of the template leads to a service that answers; its questions are answered by their defaults."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    person = reader(
        tmp_path,
        {"python3 dev/check.py", "uv run just check"},
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
        shutil.copytree(ROOT / ".tools", template / ".tools")
    done = run(template, sys.executable, "dev/demo.py", check=True)
    assert 2 == len(re.findall(r'"status": "succeeded"', done.stdout))
    assert '"text": "Hello from the demo"' in done.stdout
    assert re.search(r'"speakers": \[\s*"S1",\s*"S2"\s*\]', done.stdout)
    assert "exit code 0" in done.stdout
    assert "==> Next" in done.stdout
