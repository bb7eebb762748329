"""Every render is clean: whatever the answers, files parse, are plain, and the source is the same to the byte."""

import ast
import configparser
import hashlib
import itertools
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import cast

import pytest
import yaml
from _pytest.mark import ParameterSet

from code_lines import count_lines
from rendering import (
    DEFAULT,
    FULLEST,
    LICENSES,
    MINIMAL,
    OBJECTS,
    ONLY_DIARIZATION,
    ONLY_GENAI,
    Answers,
    Workshop,
    files,
    run,
    tool,
)

RUFF = str(Path(sys.executable).with_name("ruff"))
HOSTILE = """It's a "test": \\n \\ {{ nope }} {% raw %} {# no #} # 😀 <b>bold</b> & %s `x` $HOME ''' é --> '"""
NAMES = {"two": "Ab", "long": "Transcript Summary Board", "default": "My Service"}
DELIMITERS = re.compile(r"\{%|%\}|\{#|#\}|\{\{ |\{\{-| \}\}|-\}\}")
JUST_VARIABLE = re.compile(r"\{\{[a-z_]+\}\}")
VOLATILE = re.compile(
    r"\bnow\b|strftime|to_datetime|random|uuid|ansible_date|_copier_python|_copier_conf\.(?!answers_file)"
)
MAX_FILES = 307
MAX_FILES_OF_ALL = 404
MAX_PAGES = 12
MAX_LINES = 250
MAX_FUNCTION_LINES = 40


def combinations() -> list[ParameterSet]:
    """Return every combination of objects and license with hostile texts; each selection meets every name."""
    cases: list[ParameterSet] = []
    for (row, objects), (column, license_) in itertools.product(enumerate(OBJECTS), enumerate(LICENSES)):
        name = list(NAMES)[(row + column) % len(NAMES)]
        answers: Answers = {
            "project_name": NAMES[name],
            "description": HOSTILE,
            "author": HOSTILE,
            "objects": OBJECTS[objects],
            "license": license_,
        }
        cases.append(pytest.param(answers, id=f"{objects}-{license_}-{name}"))
    return cases


@pytest.fixture(params=[pytest.param(DEFAULT, id="default"), *combinations()])
def answers(request: pytest.FixtureRequest) -> Answers:
    """Return one combination of answers after the other."""
    given: Answers = request.param
    return given


@pytest.fixture
def project(workshop: Workshop, answers: Answers) -> Path:
    """Return the project of these answers."""
    return workshop.render(answers)


def texts(project: Path) -> dict[str, str]:
    """Return every text file of a project as it lies on disk."""
    return {name: path.read_bytes().decode() for name, path in files(project).items() if path.suffix != ".wav"}


def package(project: Path) -> Path:
    """Return the one package of a project."""
    (found,) = (path for path in (project / "src").iterdir() if path.is_dir())
    return found


def test_texts_are_plain(project: Path) -> None:
    """A rendered text holds no delimiter, ends its lines with LF, and ends with one of them."""
    wrong = []
    for name, text in texts(project).items():
        # Copier folds long answers over lines; that file is read as YAML below.
        left = "" if name == ".copier-answers.yml" else text
        quoted = json.dumps(HOSTILE, ensure_ascii=False)
        left = left.replace(HOSTILE, "").replace(quoted, "").replace(quoted.replace("$", "\\$"), "")
        checks = {
            "delimiter": DELIMITERS.search(left) or (name != "justfile" and JUST_VARIABLE.search(left)),
            "carriage return": "\r" in text,
            "last line": not text.endswith("\n") or text.endswith("\n\n"),
            "space at the end of a line": re.search(r"[ \t]\n", text),
            "byte order mark": text.startswith("\ufeff"),
            "suffix": name.endswith(".jinja"),
            "name": not re.fullmatch(r"(?:[A-Za-z0-9._/-]|\[\[[a-z]+\]\])+", name),
        }
        wrong += [f"{name}: {what}" for what, found in checks.items() if found]
    assert [] == wrong


def test_configurations_parse(project: Path) -> None:
    """Whatever is TOML, YAML, INI or Python can be read as such."""
    for name, text in texts(project).items():
        if name.endswith(".toml"):
            tomllib.loads(text)
        elif name.endswith((".yaml", ".yml")):
            yaml.safe_load(text)
        elif name.endswith((".ini", ".coveragerc", ".importlinter")):
            configparser.ConfigParser().read_string(text)
        elif name.endswith(".py"):
            compile(text, name, "exec")


def test_container_reads_the_same_files_as_the_command(project: Path) -> None:
    """Settings of `.env` and `.env.local` reach a container in this order; the compose file wires in none."""
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    (service,) = (service for service in services if "profiles" not in service)
    assert [(".env", False), (".env.local", False)] == [
        (file["path"], file["required"]) for file in service["env_file"]
    ]
    assert "environment" not in service


def test_answers_survive(project: Path, answers: Answers) -> None:
    """The description, the author and the license stand in the metadata exactly as they were given."""
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert answers.get("description", "Wraps outside providers behind one stable interface.") == metadata["description"]
    assert [{"name": answers.get("author", "The service owners")}] == metadata["authors"]
    license_ = answers.get("license", "MIT")
    assert (None if license_ == "Proprietary" else license_) == metadata.get("license")
    slug = answers.get("project_name", "My Service").lower().replace(" ", "-")
    assert {slug: f"{slug.replace('-', '_')}.bootstrap:main"} == metadata["scripts"]
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert dict(answers) == {name: stored[name] for name in answers}
    assert [slug, slug.replace("-", "_")] == [metadata["name"], package(project).name]


def test_license_fits_the_answer(project: Path, answers: Answers) -> None:
    """The license file is that of the answer, with the author and without a year."""
    first = {
        "MIT": "MIT License",
        "Apache-2.0": "Apache License",
        "BSD-3-Clause": "BSD 3-Clause License",
        "Proprietary": "All rights reserved",
    }
    text = (project / "LICENSE").read_text(encoding="utf-8")
    license_ = answers.get("license", "MIT")
    assert first[license_] in text
    assert [] == [other for other in first.values() if other != first[license_] and text.lstrip().startswith(other)]
    assert re.search(r"copyright.*\b20\d\d", text, re.IGNORECASE) is None


def test_lint_and_format_are_green(project: Path) -> None:
    """The linter and the formatter find nothing to do, for short and long names alike."""
    for arguments in (["check"], ["format", "--check"]):
        done = run(project, RUFF, *arguments, "--no-cache", ".")
        assert 0 == done.returncode, done.stdout + done.stderr


def test_source_is_the_same_for_all_answers(workshop: Workshop) -> None:
    """A file of the source has the same bytes in every service that has it."""
    digests: dict[str, set[str]] = {}
    for case in combinations():
        folder = package(workshop.render(cast("Answers", case.values[0])))
        for path in folder.rglob("*.py"):
            name = path.relative_to(folder).as_posix()
            digests.setdefault(name, set()).add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) > 50
    assert {} == {name: found for name, found in digests.items() if len(found) != 1}


def test_source_is_copied_verbatim(workshop: Workshop) -> None:
    """No file of the source is a template, and each is what the template repository holds."""
    source = workshop.template() / "template" / "src" / "{{package_name}}"
    rendered = package(workshop.render(FULLEST))
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(rendered).as_posix()
        for path in rendered.rglob("*")
        if path.suffix != ".pyc" and path.is_file()
    }
    assert [] == [name for name in names if (source / name).read_bytes() != (rendered / name).read_bytes()]


def test_nothing_volatile_is_rendered(workshop: Workshop) -> None:
    """No template asks for a date, a chance or the machine, and no lock is part of the product."""
    template = workshop.template() / "template"
    found = []
    for path in template.rglob("*.jinja"):
        expressions = re.findall(r"\{[{%].*?[%}]\}", path.read_text(encoding="utf-8"), re.DOTALL)
        found += [f"{path.name}: {expression}" for expression in expressions if VOLATILE.search(expression)]
    assert [] == found
    assert [] == [path for path in template.rglob("*") if path.name in ("uv.lock", ".venv")]


def test_two_renders_are_equal(workshop: Workshop) -> None:
    """The same answers give the same files."""
    one, other = (texts(workshop.render(DEFAULT, variant)) for variant in ("", "again"))
    assert one == other


@pytest.mark.parametrize(
    ("answers", "most"),
    [pytest.param(DEFAULT, MAX_FILES, id="default"), pytest.param(FULLEST, MAX_FILES_OF_ALL, id="fullest")],
)
def test_render_keeps_its_budgets(workshop: Workshop, answers: Answers, most: int) -> None:
    """A project has so many files and 12 pages at most, files of 250 lines, functions of 40, and lines by group."""
    project = workshop.render(answers)
    found = files(project)
    assert len(found) <= most
    assert len([name for name in found if name.startswith("docs/") and name.endswith(".md")]) <= MAX_PAGES
    long = []
    for name, path in found.items():
        if not name.endswith(".py"):
            continue
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MAX_LINES:
            long.append(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                long += [f"{name}: {node.name} has {lines} lines"] if lines > MAX_FUNCTION_LINES else []
    assert [] == long
    counted = count_lines(project / "src" / "my_service")
    assert [] == [f"{group}: {lines} of {budget}" for group, (lines, budget) in counted.items() if lines > budget]


@pytest.mark.gate
@pytest.mark.parametrize(
    "selection", [DEFAULT, MINIMAL, ONLY_GENAI, ONLY_DIARIZATION], ids=["both", "none", "genai", "diarization"]
)
def test_layers_are_green(workshop: Workshop, selection: Answers) -> None:
    """The layers hold for every selection of objects."""
    done = tool(workshop.install(selection), "lint-imports", "--no-cache")
    assert 0 == done.returncode, done.stdout
    assert "0 broken" in done.stdout
