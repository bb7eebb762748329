"""Organisations: what one has its own way stands in one file of its fork, and stays through merges and updates."""

import hashlib
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from documents import version
from edits import conflicted
from package_index import PASSWORD, USER, PackageIndex
from pages import Reader, blocks, broken_links
from releases import LATER, NEXT, begin, releases
from rendering import Answers, Workshop, commit, files, git, questions, run
from tools import ROOT, uv

OWN = "organisation.yml"
RELEASED = "510075c5eaabe457cd8175d3c0bfe9a1baa088c4fd124fc11ed834b2ba0e3ab2"
"""The digest of the file as upstream released it first."""
PAGE = ROOT / "docs/how-to/fork-for-an-organisation.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLE = next(block.text for block in blocks(TEXT) if block.language == "yaml")
COPIER = f"{sys.executable} -m copier"
PACKAGES = re.compile(r"^(?:dependencies|dev|otel|redis) = \[.*?\]$\n?", re.MULTILINE | re.DOTALL)
PERSON = {
    f"GIT_{role}_{part}": "platform@acme.example" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
}
WRONG = {
    "user": (
        'organisation: {when: false, default: a}\npackage_index: {when: false, default: "https://me:pw@acme.example/"}',
        "organisation.yml: package_index needs an address without user and password",
    ),
    "nameless": (
        'package_index: {type: str, when: false, default: "https://acme.example/simple"}',
        "organisation.yml: package_index needs an organisation, in letters",
    ),
    "asked": ("base_image: acme/python", "organisation.yml: base_image needs `when: false`"),
    "no address": (
        "documentation: {when: false, default: docs.acme.example/}",
        "documentation needs an address without user",
    ),
    "unlabelled": ("labels: {when: false, default: [a]}", "organisation.yml: labels needs names with values"),
    "unrendered": (
        'labels: {when: false, default: {a: "{{ slug }}"}}',
        "with answers in it, its default is a text (default: |)",
    ),
    "too early": ('code_owners: {when: false, default: "{{ nobody }}"}', "'nobody' is undefined"),
    "no default": ("labels: {a: b}", 'Question "labels" is required'),
    "no type": ("ci_image: {type: text, when: false, default: a}", 'Unsupported type "text" in question "ci_image"'),
    "text": ("Acme", "TypeError: string indices must be integers, not 'str'"),
    "no yaml": ("a: [", "InvalidConfigFileError: "),
}


def fork(workshop: Workshop, target: Path, text: str, version: str = f"{NEXT}.1") -> Path:
    """Return a fork of what lies on disk in which the file of the organisation has this text."""
    git(target.parent, "clone", "--quiet", str(releases(workshop)), str(target))
    git(target, "checkout", "--quiet", "-B", "main", f"v{NEXT}")
    git(target, "tag", "--delete", f"v{LATER}")
    release(target, text, version)
    return target


def release(target: Path, text: str, version: str) -> None:
    """Release another text of the organisation's file."""
    (target / OWN).write_text(text, encoding="utf-8")
    commit(target, "What we have our own way")
    git(target, "tag", f"v{version}")


def start(template: Path, target: Path, answers: Answers | None = None) -> Path:
    """Return a service of the newest release, committed."""
    given = [f"--data={name}={value}" for name, value in (answers or {}).items()]
    run(target.parent, *COPIER.split(), "copy", "--quiet", "--defaults", *given, str(template), str(target), check=True)
    git(target, "init", "--quiet", "--initial-branch=main")
    commit(target, "Start from the template")
    return target


def update(project: Path) -> None:
    """Update to the newest release, without locking and without the gate."""
    run(project, sys.executable, ".template", "update", "--no-check", check=True)


def texts(project: Path) -> dict[str, str]:
    """Return the text of every file but a sound."""
    found = files(project)
    return {name: path.read_text(encoding="utf-8") for name, path in found.items() if path.suffix != ".wav"}


def differs(project: Path, ci: str = "gitlab", cost_centre: str = "0000") -> None:
    """Check that a service has everything that the example on the page says."""
    text = texts(project)
    assert "ARG PYTHON_IMAGE=registry.acme.example/python:3.12-slim\n" in text["Dockerfile"]
    assert "ARG UV_IMAGE=registry.acme.example/astral-sh/uv:0.13.8\n" in text["Dockerfile"]
    secret, cache = "--mount=type=secret,id=netrc,target=/run/secrets/netrc", "--mount=type=cache,target=/var/cache/uv"
    assert 2 == text["Dockerfile"].count(f"RUN {secret} {cache} uv ")
    assert 1 == text["Dockerfile"].count("ENV NETRC=/run/secrets/netrc\n")
    assert f'LABEL example.acme.cost-centre="{cost_centre}"\n' in text["Dockerfile"]
    metadata = tomllib.loads(text["pyproject.toml"])
    index = {"name": "acme", "url": "https://pypi.acme.example/simple", "default": True}
    assert [index] == metadata["tool"]["uv"]["index"]
    assert ["Private :: Do Not Upload"] == metadata["project"]["classifiers"]
    assert "* @acme/platform\n/.template/ @acme/platform\n" in text["CODEOWNERS"]
    assert "SECURITY.md" not in text
    answers = yaml.safe_load(text[".copier-answers.yml"])
    assert (ci, cost_centre, "platform") == (answers["ci"], answers["cost_centre"], answers["team"])
    assert set() == {"organisation", "package_index", "base_image", "labels", "documentation", "refusal"} & set(answers)
    address = f"https://docs.acme.example/service-template/{version(ROOT)}/docs"
    assert f"({address}/how-to/update-a-service.html)" in text["docs/README.md"]
    assert f"({address}/index.html)" in text["docs/README.md"]
    if ci == "gitlab":
        told = yaml.safe_load(text[".gitlab-ci.yml"])
        assert {"PIP_INDEX_URL": index["url"]} == told["variables"]
        assert ("registry.acme.example/python:3.12", ["acme", "linux"]) == (
            told["default"]["image"],
            told["default"]["tags"],
        )
    else:
        for name in ("ci", "template"):
            told = yaml.safe_load(text[f".github/workflows/{name}.yml"])
            assert {"PIP_INDEX_URL": index["url"]} == told["env"]
            assert [["acme", "linux"]] * 2 == [job["runs-on"] for job in told["jobs"].values()]


def test_upstream_never_changes_the_file() -> None:
    """Upstream's file is the one that was released first, to the byte; a fork, which says its name, has another."""
    if not questions(ROOT)["organisation"]["default"]:
        assert RELEASED == hashlib.sha256((ROOT / OWN).read_bytes()).hexdigest()


def test_the_file_of_this_repository_renders(workshop: Workshop, tmp_path: Path) -> None:
    """Upstream's file, or the one of a fork, whose own check this is, is understood by Copier."""
    text = (ROOT / OWN).read_text(encoding="utf-8")
    assert (start(fork(workshop, tmp_path / "fork", text), tmp_path / "service") / "Dockerfile").exists()


def test_the_examples_in_the_file_work(workshop: Workshop, tmp_path: Path) -> None:
    """Without the # in front of them, the examples are a file that Copier understands."""
    text = re.sub(r"^#(?=\S|  )", "", (ROOT / OWN).read_text(encoding="utf-8"), flags=re.MULTILINE)
    rendered = texts(start(fork(workshop, tmp_path / "fork", text), tmp_path / "service", {"cost_centre": "47 $11"}))
    assert "ARG PYTHON_IMAGE=registry.acme.example/python:3.12-slim\n" in rendered["Dockerfile"]
    assert 'LABEL example.acme.cost-centre="47 \\$11"\n' in rendered["Dockerfile"]
    assert rendered["LICENSE"].startswith("Copyright")
    assert "SECURITY.md" not in rendered


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_service_has_everything_that_the_file_says(workshop: Workshop, tmp_path: Path, ci: str) -> None:
    """Index, images, runner, owners, defaults, questions, labels and missing files are as the organisation has it."""
    differs(start(fork(workshop, tmp_path / "fork", EXAMPLE), tmp_path / "service", {"ci": ci}), ci)


def test_a_changed_value_reaches_services_with_their_next_update(workshop: Workshop, tmp_path: Path) -> None:
    """Values are not stored in services: what the fork releases next is what they have, and nothing else changes."""
    template = fork(workshop, tmp_path / "fork", EXAMPLE)
    project = start(template, tmp_path / "service", {"cost_centre": "4711", "license": "MIT"})
    before = texts(project)
    release(template, EXAMPLE.replace("python:3.12-slim", "python:3.12-hardened"), f"{NEXT}.2")
    update(project)
    after = texts(project)
    assert {"Dockerfile", ".copier-answers.yml"} == {
        name for name in before | after if before.get(name) != after.get(name)
    }
    assert before["Dockerfile"].replace("3.12-slim", "3.12-hardened") == after["Dockerfile"]
    assert f"_commit: v{NEXT}.2\n" in after[".copier-answers.yml"]
    assert "cost_centre: '4711'\n" in after[".copier-answers.yml"]


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_makes_nothing(tmp_path: Path, text: str, said: str) -> None:
    """Nothing is rendered from a wrong file, and the last line of what Copier says is the one on the page."""
    template = tmp_path / "fork"
    (template / "template").mkdir(parents=True)
    shutil.copy(ROOT / "copier.yml", template)
    (template / OWN).write_text(text, encoding="utf-8")
    done = run(tmp_path, *COPIER.split(), "copy", "--defaults", str(template), "service")
    assert 0 != done.returncode
    last = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert said in last
    rows = re.findall(r"^\| `(.+?)` \|", TEXT.partition("## When the file is wrong")[2], re.MULTILINE)
    assert [row for row in rows if re.search(re.escape(row).replace(r"\.\.\.", ".*"), last)]
    assert not (tmp_path / "service").exists()


def test_the_page_names_every_value() -> None:
    """The table of values has what `copier.yml` lets an organisation have its own way, with upstream's values."""
    last = (ROOT / "copier.yml").read_text(encoding="utf-8").partition(f"--- !include {OWN}\n")[2]
    values = yaml.safe_load(last.removeprefix("---\n").partition(f"--- !include {OWN}\n")[0])
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ?(.*?) ?\|$", TEXT, re.MULTILINE))
    assert list(values) == list(rows)
    plain = {name: told["default"] for name, told in values.items() if name not in ("ci_runner", "labels")}
    assert plain == {name: rows[name].strip("`") for name in plain}
    assert [] == broken_links(PAGE)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """Yield an index with one package, for those who know the password."""
    with PackageIndex(tmp_path / "index") as served:
        yield served


def test_packages_come_from_the_index_of_the_organisation(
    workshop: Workshop, tmp_path: Path, index: PackageIndex
) -> None:
    """Uv takes packages from there, reads name and password where the page says, and writes neither down."""
    template = fork(workshop, tmp_path / "fork", EXAMPLE.replace("https://pypi.acme.example/simple", index.url))
    metadata = start(template, tmp_path / "service") / "pyproject.toml"
    text = PACKAGES.sub("", metadata.read_text(encoding="utf-8"))
    metadata.write_text(text.replace("[project]\n", '[project]\ndependencies = ["tiny"]\n'), encoding="utf-8")
    lock, locked = [str(uv()), "lock", "--no-cache"], metadata.parent / "uv.lock"
    assert "401" in run(metadata.parent, *lock).stderr
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n", encoding="utf-8")
    for env in ({"NETRC": str(netrc)}, {"UV_INDEX_ACME_USERNAME": USER, "UV_INDEX_ACME_PASSWORD": PASSWORD}):
        run(metadata.parent, *lock, env=env, check=True)
        (tiny,) = (entry for entry in tomllib.loads(locked.read_text("utf-8"))["package"] if entry["name"] == "tiny")
        assert {"registry": index.url} == tiny["source"]
        assert PASSWORD not in locked.read_text(encoding="utf-8")
        locked.unlink()


def test_the_page_works_from_end_to_end(workshop: Workshop, tmp_path: Path) -> None:
    """A fork is made, services come to it, upstream is merged without a conflict, and both sides' changes arrive."""
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    moved = begin(workshop, tmp_path / "moved", NEXT, {})
    work, _, rest = _page(str(releases(workshop)), str(origin)).partition("## Services that were started")
    reader = Reader(tmp_path, PERSON, {})
    reader.follow(work)
    assert tmp_path / "my-service" == reader.folder
    differs(tmp_path / "trial")
    merged = git(tmp_path / "service-template", "diff", "--name-only", f"v{LATER}", "HEAD").stdout
    assert f"{OWN}\n" == merged
    differs(reader.folder, cost_centre="4711")
    has_both(reader.folder)
    Reader(moved, PERSON, {}).follow(rest)
    commit(moved, "Updates come from Acme")
    update(moved)
    has_both(moved)


def has_both(project: Path) -> None:
    """Check that a service has what upstream's next release and what the organisation changed, without a conflict."""
    text = texts(project)
    assert {"src/my_service/chassis/redacting.py", "CODEOWNERS"} <= set(text)
    assert "registry.acme.example/python" in text["Dockerfile"]
    assert "# Of the next release.\n" in text["Dockerfile"]
    assert f"_commit: v{LATER}.1\n" in text[".copier-answers.yml"]
    assert "region: anywhere\n" in text[".copier-answers.yml"]
    assert set() == conflicted(project)


def _page(upstream: str, origin: str) -> str:
    """Return the page with addresses, releases and commands as they are here."""
    text = TEXT
    for old, new in {
        "https://git.example/copier-object-service.git": upstream,
        "https://git.acme.example/platform/service-template.git": origin,
        "v0.3.0": f"v{NEXT}",
        "v0.4.0": f"v{LATER}",
        "copier copy": f"{COPIER} copy",
        "uv run just update": f"{sys.executable} .template update --no-check",
    }.items():
        text = text.replace(old, new)
    return text
