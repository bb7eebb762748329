"""The questions: few, each with a default, and a wrong answer is refused with one sentence of ours."""

import fcntl
import json
import keyword
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from rendering import FULLEST, Workshop, clean_environment, questions, run
from tools import ROOT

COPIER = str(Path(sys.executable).with_name("copier"))
QUESTIONS = ["project_name", "description", "author", "objects", "capabilities", "deploy", "ci", "license"]
FORBIDDEN = ("_tasks", "_migrations", "_jinja_extensions")
CONTROL = "control characters are not possible; use plain text such as My Service."
LETTERS = "letters beyond a-z are not possible; use plain ones, such as My Service."
BEGIN = "it has to begin with a letter a-z, such as My Service."
LENGTH = "2 to 24 characters are possible; '{slug}' has {length}."
TAKEN = "'{package}' is taken by Python or a dependency; choose another name."
GOOD_NAMES = {
    "My Service": "my-service",
    "ab": "ab",
    "a1": "a1",
    "Two  Words!": "two-words",
    'Quoted "Name"': "quoted-name",
    "O'Brien's": "o-brien-s",
    "-dashes-": "dashes",
    "a" * 24: "a" * 24,
    "  " + "b" * 24 + "  ": "b" * 24,
}
BAD_NAMES = {
    "": BEGIN,
    "--": BEGIN,
    "1st": BEGIN,
    "a": LENGTH.format(slug="a", length=1),
    "A-": LENGTH.format(slug="a", length=1),
    "c" * 25: LENGTH.format(slug="c" * 25, length=25),
    "Über Dienst": LETTERS,
    "naïve": LETTERS,
    "сервис": LETTERS,
    "smile 😀": LETTERS,
    "no-break\u00a0space": LETTERS,
    "two\nlines": CONTROL,
    "ends\n": CONTROL,
    "a\tb": CONTROL,
    "a\x00b": CONTROL,
    "a\x7fb": CONTROL,
    "Class": TAKEN.format(package="class"),
    "import linter": TAKEN.format(package="import_linter"),
}


@pytest.fixture(scope="module")
def document(workshop: Workshop) -> dict[str, Any]:
    """Return the questions as Copier reads them."""
    return questions(workshop.template())


def verdict(document: dict[str, Any], question: str, answer: str) -> str:
    """Return what the validator of a question says about an answer; nothing when it is accepted."""
    extensions = ["jinja2_ansible_filters.AnsibleCoreFiltersExtension"]
    environment = Environment(undefined=StrictUndefined, extensions=extensions, autoescape=False)  # noqa: S701 - as Copier
    template = environment.from_string(document[question]["validator"])
    reserved = document["reserved_names"]["default"]
    return template.render({question: answer, "reserved_names": reserved}).strip()


def copy(workshop: Workshop, target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Copy the template with the command line, without a terminal and without trust."""
    template = str(workshop.template())
    return run(target.parent, COPIER, "copy", "--vcs-ref=HEAD", "--defaults", *options, template, str(target))


def test_questions_are_those_of_the_contract(document: dict[str, Any]) -> None:
    """There are at most eight questions, and each has a default and says what it asks."""
    asked = {
        name: value for name, value in document.items() if not name.startswith("_") and value.get("when") is not False
    }
    assert QUESTIONS == list(asked)
    assert len(asked) <= 8
    assert [] == [name for name, value in asked.items() if "default" not in value or not value["help"].endswith("?")]


def test_nothing_asks_for_trust(document: dict[str, Any]) -> None:
    """No task, migration or extension exists, so no copy and no update asks for trust."""
    assert [] == [name for name in FORBIDDEN if name in document]


def test_copy_works_without_a_terminal(workshop: Workshop, tmp_path: Path) -> None:
    """One command copies the template where nobody can answer, and the answers file holds the answers only."""
    done = copy(workshop, tmp_path / "project")
    assert 0 == done.returncode, done.stderr
    assert "uv sync" in done.stderr
    answers = yaml.safe_load((tmp_path / "project" / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert {"_commit", "_src_path", *QUESTIONS} == set(answers)
    assert str(workshop.template()) == answers["_src_path"]


def test_next_steps_can_be_pasted(workshop: Workshop, tmp_path: Path) -> None:
    """A path with a blank is quoted in the command that leads there."""
    target = tmp_path / "a folder" / "it's"
    target.parent.mkdir()
    done = copy(workshop, target)
    line = next(line for line in done.stderr.splitlines() if line.startswith("  cd "))
    assert ["cd", str(target)] == shlex.split(line)


@pytest.mark.parametrize("name", GOOD_NAMES, ids=ascii)
def test_name_is_accepted(document: dict[str, Any], name: str) -> None:
    """A name that begins with a letter and has 2 to 24 characters once slugged is accepted."""
    assert "" == verdict(document, "project_name", name)


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_name_is_refused(document: dict[str, Any], name: str) -> None:
    """A name that cannot become a package is refused with the reason."""
    assert BAD_NAMES[name] == verdict(document, "project_name", name)


def test_slug_follows_from_the_name(document: dict[str, Any]) -> None:
    """Whatever is no letter and no digit becomes one dash."""
    extensions = ["jinja2_ansible_filters.AnsibleCoreFiltersExtension"]
    environment = Environment(undefined=StrictUndefined, extensions=extensions, autoescape=False)  # noqa: S701 - as Copier
    slug = environment.from_string(document["slug"]["default"])
    assert GOOD_NAMES == {name: slug.render(project_name=name) for name in GOOD_NAMES}


def test_every_reserved_name_is_refused(document: dict[str, Any]) -> None:
    """No name on the list of reserved ones gets through, however it is written."""
    names = document["reserved_names"]["default"].split()
    assert {"class", "json", "fastapi", "numpy", "match", "tests", "src"} <= set(names)
    written = {name: name.replace("_", " ").title() for name in names}
    said = {name: verdict(document, "project_name", written[name]) for name in names}
    assert {name: TAKEN.format(package=name) for name in names} == said
    assert sorted(names) == names


def test_reserved_names_are_complete(document: dict[str, Any], workshop: Workshop) -> None:
    """Keywords, modules of the standard library, and names of all dependencies are reserved."""
    project = workshop.install(FULLEST)
    lock = tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))
    packages = {package["name"].replace("-", "_") for package in lock["package"]} - {"my_service"}
    script = "import importlib.metadata as m, json; print(json.dumps(list(m.packages_distributions())))"
    modules = set(json.loads(run(project, ".venv/bin/python", "-c", script, check=True).stdout)) - {"my_service"}
    words = {word.lower() for word in (*keyword.kwlist, *keyword.softkwlist)}
    wanted = packages | modules | words | sys.stdlib_module_names | {"src", "tests", "docs", "examples"}
    possible = {name for name in wanted if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) and 2 <= len(name) <= 24}
    assert set() == possible - set(document["reserved_names"]["default"].split())


@pytest.mark.parametrize(
    "text", ["", "  ", "ends ", "two\nlines", "a\x00b", "tab\there", "line\u2028separator", "broken \udcff"], ids=ascii
)
@pytest.mark.parametrize(("question", "limit"), [("description", 200), ("author", 100)])
def test_text_is_one_line(document: dict[str, Any], question: str, limit: int, text: str) -> None:
    """Description and author are one line of limited length, without control characters."""
    sentence = f"one line of 1 to {limit} characters is needed, without spaces around it."
    assert sentence == verdict(document, question, text)
    assert sentence == verdict(document, question, "x" * (limit + 1))
    assert "" == verdict(document, question, "x" * limit)


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        ("project_name=fastapi", TAKEN.format(package="fastapi")),
        ("project_name=numpy", TAKEN.format(package="numpy")),
        ("project_name=x", LENGTH.format(slug="x", length=1)),
        ("description=two\nlines", "one line of 1 to 200 characters is needed, without spaces around it."),
        ("author= ", "one line of 1 to 100 characters is needed, without spaces around it."),
        ("license=GPL", "'GPL' is not in ['MIT', 'Apache-2.0', 'BSD-3-Clause', 'Proprietary']"),
        ("objects=[genai, video]", "'video' is not in ['genai', 'diarization']"),
    ],
    ids=["taken", "dependency", "short", "description", "author", "license", "objects"],
)
def test_bad_data_ends_with_one_sentence(workshop: Workshop, tmp_path: Path, answer: str, last: str) -> None:
    """A wrong answer on the command line fails, makes nothing, and its last line says what is wrong."""
    done = copy(workshop, tmp_path / "project", "--data", answer)
    assert 0 != done.returncode
    assert not (tmp_path / "project").exists()
    line = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert line.endswith(last)
    assert f"'{answer.partition('=')[0]}'" in line


def test_a_list_is_written_as_one(workshop: Workshop, tmp_path: Path) -> None:
    """Copier itself refuses a single word where several answers are possible, and its last line says why."""
    done = copy(workshop, tmp_path / "project", "--data", "objects=genai")
    assert 0 != done.returncode
    assert "TypeError: Not a YAML list: 'genai'" == done.stderr.rstrip("\n").rpartition("\n")[2]
    assert 0 == copy(workshop, tmp_path / "project", "--data", "objects=[genai]").returncode
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "--data 'objects=[genai]'" in text


class Terminal:
    """A person in front of a terminal of 80 columns, in which Copier asks."""

    def __init__(self, template: Path, target: Path) -> None:
        """Start to copy."""
        self._screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        command = [COPIER, "copy", "--quiet", "--vcs-ref=HEAD", str(template), str(target)]
        environment = clean_environment({"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"})
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, **streams)  # type: ignore[call-overload]
        os.close(theirs)
        self._seen = ""

    def expect(self, text: str) -> None:
        """Wait until a text has appeared since the last one that was expected."""
        limit = time.monotonic() + 30
        while text not in self._seen and time.monotonic() < limit:
            if select.select([self._screen], [], [], 0.1)[0]:
                self._seen += os.read(self._screen, 65536).decode(errors="replace")
        assert text in self._seen
        self._seen = self._seen.partition(text)[2]

    def answer(self, text: str) -> None:
        """Replace what stands in the field and press enter."""
        os.write(self._screen, f"\x15{text}\r".encode())

    def close(self) -> None:
        """Leave; a copy that still runs is stopped."""
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


def test_mistake_at_the_terminal_is_corrected_in_place(workshop: Workshop, tmp_path: Path) -> None:
    """Somebody who types a wrong name sees one line that says so, corrects it and goes on."""
    terminal = Terminal(workshop.template(), tmp_path / "project")
    try:
        terminal.expect("What is the service called?")
        terminal.answer("class")
        terminal.expect("'class' is taken by Python")
        terminal.answer("Weather Desk")
        for question in (
            "What does it do",
            "Who owns it",
            "Which objects",
            "Which capabilities",
            "Where is it deployed",
            "Where does its CI run",
            "Under which license",
        ):
            terminal.expect(question)
            os.write(terminal._screen, b"\r")
        assert 0 == terminal.process.wait(60)
    finally:
        terminal.close()
    project = tomllib.loads((tmp_path / "project" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "weather-desk" == project["name"]
