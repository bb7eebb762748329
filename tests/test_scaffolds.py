"""Scaffolds: what `just new-provider` and `just new-object` write is green at once, and nothing else changes."""

import ast
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rendering import DEFAULT, LONG_NAME, MINIMAL, SHORT_NAME, Answers, Workshop, commit, files, git, run, tool
from serving import running
from tools import uv

pytestmark = pytest.mark.gate

OFFLINE = {"UV_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
LONGEST = "a23456789_123456789_123456789_123456789b"
TITLE = re.compile(r"^(?:##|# ---) (.+)$", re.MULTILINE)
LOG_AND_NEXT = re.compile(r"(## log\n.*?)(## redis\n.*?)(?=## )", re.DOTALL)


def just(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a recipe as the documents say it, without the network."""
    return run(folder, str(uv()), "run", "--frozen", "just", *words, env=OFFLINE, check=check)


def repository(workshop: Workshop, answers: Answers, variant: str) -> Path:
    """Return a project under version control that nobody else uses, not even another worker of this run."""
    project = workshop.install(answers, f"{variant} {os.environ.get('PYTEST_XDIST_WORKER', '')}", typed=True)
    if not (project / ".git").exists():
        git(project, "init", "--quiet", "--initial-branch=main")
        commit(project, "Start from the template")
    return project


def written(printed: str) -> list[str]:
    """Return the files that a recipe says it has written."""
    return [line.strip() for line in printed.partition("Next:")[0].splitlines()[1:]]


def changed(project: Path) -> set[str]:
    """Return every file that differs from the last commit."""
    lines = git(project, "status", "--porcelain", "--untracked-files=all", "-z").stdout.split("\0")
    return {line[3:] for line in lines if line}


@pytest.fixture(scope="module")
def grown(workshop: Workshop) -> tuple[Path, list[str]]:
    """Return a default project with a new object and a new provider of each object, and what the recipes printed."""
    project = repository(workshop, DEFAULT, "grown")
    if not changed(project):
        orders = ["object invoice_lines", "provider invoice_lines acme", "provider genai globex"]
        for order in [*orders, "provider diarization initech"]:
            just(project, f"new-{order.split()[0]}", *order.split()[1:])
    return project, sorted(changed(project))


def test_a_grown_project_is_green(grown: tuple[Path, list[str]]) -> None:
    """The whole gate passes with new files only: no edit, no formatting, no page to renew."""
    project, added = grown
    assert "" == git(project, "diff", "--name-only").stdout
    done = just(project, "check")
    assert re.search(r"\d+ passed", done.stdout)
    assert re.search(r"\d+ (failed|error|warning)", done.stdout) is None
    assert added == sorted(changed(project))
    for owner, kind in [("invoice_lines", "acme"), ("genai", "globex"), ("diarization", "initech")]:
        own = [name for name in added if re.search(rf"\b(test_)?{kind}\.", name)]
        assert own == [f"src/my_service/adapters/{owner}/{kind}.py", f"tests/adapters/{owner}/test_{kind}.py"]


def test_each_provider_runs_the_conformance_kit(grown: tuple[Path, list[str]]) -> None:
    """The kit finds what was written, and has nothing against it in the tier that it claims."""
    project, _ = grown
    done = tool(
        project, "pytest", "-v", "--color=no", "tests/conformance", "-k", "acme or globex or initech or invoice"
    )
    assert 0 == done.returncode, done.stdout
    for subject in ("invoice_lines.acme", "invoice_lines.invoice_lines_offline", "genai.globex", "diarization.initech"):
        assert re.search(rf"\[{subject}-W02\] PASSED", done.stdout), done.stdout


def test_a_new_object_serves(grown: tuple[Path, list[str]], tmp_path: Path) -> None:
    """It answers over HTTP and on the command line, each as a process of its own."""
    project, _ = grown
    assert "hello\n" == tool(project, "my-service", "invoice-lines", "hello").stdout
    assert '"text": "hello"' in tool(project, "my-service", "invoice-lines", "hello", "--json").stdout
    with running(project, tmp_path / "service") as service:
        answer = service.post("/v1/invoice-lines", {"text": "hello", "params": {"max_chars": 4}})
        problem = service.post("/v1/invoice-lines", {"text": ""})
    assert (200, {"text": "hell"}) == (answer.status, answer.document["result"])
    assert ("invoice_lines", "answer") == tuple(answer.document["provenance"][name] for name in ("object", "operation"))
    assert (422, "/text") == (problem.status, problem.document["errors"][0]["pointer"])


@pytest.mark.parametrize(("page", "options"), [("docs/settings.md", []), (".env.example", ["--format", "env"])])
def test_the_pages_take_in_what_is_new(grown: tuple[Path, list[str]], page: str, options: list[str]) -> None:
    """The pages are true before and after `just fmt` has written what objects and providers add."""
    project, _ = grown
    before = (project / page).read_text(encoding="utf-8")
    after = tool(project, "my-service", "config", "reference", *options).stdout
    (project / page).write_text(after, encoding="utf-8")
    done = tool(project, "pytest", "-q", "tests/test_documents.py", "-k", "fresh")
    (project / page).write_text(before, encoding="utf-8")
    new = {"invoice_lines", "provider acme", "provider globex", "provider initech"}
    assert new == set(TITLE.findall(after)) - set(TITLE.findall(before))
    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda text: text.replace("8000", "8001", 1), "http", id="changed"),
        pytest.param(lambda text: text.replace("## log", "## logs"), "logs", id="stale"),
        pytest.param(lambda text: LOG_AND_NEXT.sub(r"\2", text), "log", id="missing"),
        pytest.param(
            lambda text: re.sub(r"(## log\n.*?)(## redis\n.*?)(?=## )", r"\2\1", text, flags=re.DOTALL), "", id="order"
        ),
    ],
)
def test_a_wrong_page_is_still_found(grown: tuple[Path, list[str]], change: Callable[[str], str], reason: str) -> None:
    """What stands on a page has to be true, and the settings of the chassis have to stand there."""
    project, _ = grown
    page = project / "docs" / "settings.md"
    text = page.read_text(encoding="utf-8")
    wrong = change(text)
    assert wrong != text
    page.write_text(wrong, encoding="utf-8")
    done = tool(project, "pytest", "-q", "tests/test_documents.py", "-k", "fresh and markdown")
    page.write_text(text, encoding="utf-8")
    assert 1 == done.returncode, done.stdout
    assert reason in done.stdout


def test_the_next_commands_run(workshop: Workshop) -> None:
    """Whoever follows what is printed, word by word, meets no error; `just check` is run by the other tests."""
    project = repository(workshop, MINIMAL, "followed")
    printed = [just(project, "new-object", "notes").stdout]
    lines = [line.partition("#")[0].split() for line in printed[0].partition("Next:")[2].splitlines() if line]
    assert 3 == len(lines)
    for words in lines[:2]:
        done = run(project, str(uv()), *words[1:2], "--frozen", *words[2:], env=OFFLINE, check=True)
        printed.append(done.stdout)
    assert ["src/my_service/adapters/notes/acme.py", "tests/adapters/notes/test_acme.py"] == written(printed[2])
    for line in filter(None, printed[2].partition("Next:")[2].splitlines()):
        recipe = shlex.split(line.partition("#")[0])[3]
        assert recipe in just(project, "--summary").stdout.split(), line
    assert 0 == tool(project, "pytest", "-q").returncode


NAMES = ["z", "ok", "openai_2", "a1_b2_c3", LONGEST.replace("a2", "p2", 1)]


@pytest.mark.parametrize("answers", [SHORT_NAME, LONG_NAME], ids=["two-characters", "twenty-four-characters"])
def test_every_name_is_formatted_and_typed(workshop: Workshop, answers: Answers) -> None:
    """Short and long names of packages, objects and providers give files that lint, types and layers accept."""
    project = repository(workshop, answers, "names")
    for object_ in ("q", LONGEST):
        just(project, "new-object", object_)
    for number, name in enumerate(NAMES):
        for object_ in ("genai", "diarization", "q", LONGEST):
            just(project, "new-provider", object_, f"{object_[0]}{number}{name}"[:40].rstrip("_"))
    made = [name for name in changed(project) if name.endswith(".py")]
    assert len(made) == 2 * 10 + 2 * 4 * len(NAMES)
    assert "" == git(project, "diff", "--name-only").stdout
    for command in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = tool(project, *command, *made)
        assert 0 == done.returncode, done.stdout
    for command in (["mypy"], ["lint-imports"]):
        done = tool(project, *command)
        assert 0 == done.returncode, done.stdout
    assert max(len((project / name).read_text(encoding="utf-8").splitlines()) for name in made) <= 250
    for name in made:
        ast.parse((project / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def untouched(workshop: Workshop) -> Path:
    """Return a default project in which nothing may be written."""
    return repository(workshop, DEFAULT, "refused")


FORM = "expected at most 40 lower-case letters and digits, a letter first, words joined by single underscores"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param("new-provider|genai|$(touch planted)", FORM, id="shell"),
        pytest.param("new-provider|genai|a;touch planted", FORM, id="two-commands"),
        pytest.param("new-provider|genai|../planted", FORM, id="path"),
        pytest.param("new-provider|genai|a b", FORM, id="space"),
        pytest.param("new-provider|genai|-h", FORM, id="option"),
        pytest.param("new-provider|genai|", FORM, id="empty"),
        pytest.param("new-provider|genai|a__b", FORM, id="two-underscores"),
        pytest.param("new-provider|genai|Acme", FORM, id="capital"),
        pytest.param("new-provider|genai|ä", FORM, id="beyond-ascii"),
        pytest.param("new-provider|genai|acme\n", FORM, id="line-end"),
        pytest.param(f"new-provider|genai|{LONGEST}c", FORM, id="too-long"),
        pytest.param("new-provider|genai|class", "'class' is a word or a module of Python", id="keyword"),
        pytest.param("new-provider|genai|none", "'none' is a word or a module of Python", id="constant"),
        pytest.param("new-provider|genai|json", "'json' is a word or a module of Python", id="module"),
        pytest.param("new-provider|genai|echo", "'echo' is a kind of provider already", id="kind"),
        pytest.param("new-provider|genai|energy", "'energy' is a kind of provider already", id="kind-elsewhere"),
        pytest.param("new-provider|genai|usage", "would give Usage two meanings in one file", id="class"),
        pytest.param(
            "new-provider|geani|acme", "no object 'geani'. Did you mean 'genai'? Expected one of: ", id="hint"
        ),
        pytest.param("new-provider|../x|acme", "no object '../x'. Expected one of: diarization, genai", id="no-object"),
        pytest.param("new-provider|http|acme", "no object 'http'. Expected one of: diarization, genai", id="section"),
        pytest.param("new-object|$(touch planted)", FORM, id="object-shell"),
        pytest.param("new-object|--version", FORM, id="object-option"),
        pytest.param("new-object|genai", "is a setting, a command or a route of the service already", id="object"),
        pytest.param("new-object|generate", "is a setting, a command or a route", id="object-command"),
        pytest.param("new-object|generations", "is a setting, a command or a route", id="object-route"),
        pytest.param("new-object|log", "is a setting, a command or a route", id="object-section"),
        pytest.param("new-object|environment", "is a setting, a command or a route", id="object-variable"),
        pytest.param("new-object|port", "is a setting, a command or a route", id="object-kubernetes"),
        pytest.param("new-object|service_host", "is a setting, a command or a route", id="object-kubernetes-host"),
        pytest.param("new-object|openapi", "is a setting, a command or a route", id="object-own-command"),
        pytest.param("new-object|list", "'list' is a word or a module of Python", id="object-builtin"),
    ],
)
def test_wrong_words_are_refused(untouched: Path, words: str, reason: str) -> None:
    """One sentence says what was expected; nothing is written, and nothing reaches a shell."""
    done = just(untouched, *words.split("|"), check=False)
    assert (2, "") == (done.returncode, done.stdout)
    assert re.fullmatch(r"error: .+\n", done.stderr), done.stderr
    assert reason in done.stderr
    assert set() == changed(untouched)


def test_a_wrong_number_of_words_is_refused(untouched: Path) -> None:
    """The form of the recipes is shown."""
    assert "just new-provider object name" in just(untouched, "new-provider", "genai", check=False).stderr
    done = tool(untouched, "python", "scaffolds/new.py", "provider", "genai")
    assert (2, "error: expected `just new-provider OBJECT NAME` or `just new-object NAME`\n") == (
        done.returncode,
        done.stderr,
    )


@pytest.mark.parametrize(
    ("words", "there"),
    [
        pytest.param(("new-provider", "genai", "mine"), "tests/adapters/genai/test_mine.py", id="provider"),
        pytest.param(("new-object", "mine"), "docs/mine.md", id="object"),
    ],
)
def test_what_exists_is_never_overwritten(untouched: Path, words: tuple[str, ...], there: str) -> None:
    """If one file exists, none is written, and it is named."""
    (untouched / there).write_text("mine\n", encoding="utf-8")
    done = just(untouched, *words, check=False)
    found, text = changed(untouched), (untouched / there).read_text(encoding="utf-8")
    (untouched / there).unlink()
    assert 1 == done.returncode
    assert f"error: {there} exists, so nothing was written; rename or remove it first\n" == done.stderr
    assert ({there}, "mine\n") == (found, text)


def test_an_object_without_a_scaffold_says_what_to_copy(untouched: Path) -> None:
    """Whoever wrote an object by hand, or removed its scaffold, is told both ways out."""
    folder = untouched / "scaffolds" / "provider" / "genai"
    folder.rename(folder.with_name("away"))
    done = just(untouched, "new-provider", "genai", "acme", check=False)
    folder.with_name("away").rename(folder)
    assert 2 == done.returncode
    reason = "'genai' has no folder in scaffolds/provider; make one, or copy a module and its test from src/my_service/"
    assert reason in done.stderr


def test_a_service_that_cannot_be_imported_is_told_in_one_sentence(untouched: Path) -> None:
    """A mistake elsewhere is named instead of a traceback."""
    broken = untouched / "src" / "my_service" / "wiring" / "broken.py"
    broken.write_text("import nothing_of_this_name\n", encoding="utf-8")
    done = just(untouched, "new-provider", "genai", "acme", check=False)
    broken.unlink()
    assert 1 == done.returncode
    assert "error: the service cannot be imported (ModuleNotFoundError: No module named 'nothing_of" in done.stderr
    assert "Traceback" not in done.stderr


def test_recipes_work_from_any_folder(workshop: Workshop) -> None:
    """A folder below the project is as good as the project, and no answers file is written."""
    project = repository(workshop, DEFAULT, "below")
    before = set(files(project))
    printed = just(project / "src" / "my_service", "new-provider", "genai", "acme").stdout
    assert sorted(set(files(project)) - before) == written(printed)
    assert 2 == len(written(printed))
