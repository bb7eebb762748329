"""Updates: from the first tag on, without trust and without a terminal, and the owner's work stays."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rendering import FIRST_TAG, Workshop, commit, contents, git, run

COPIER = str(Path(sys.executable).with_name("copier"))
NEXT_TAG = "v0.2.0"
MANAGED = "ruff.toml"
SEEDED = "src/my_service/service/genai.py"


@pytest.fixture(scope="module")
def template(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a template with a first release and a next one, in which managed files came, changed and went."""
    copied = tmp_path_factory.mktemp("releases") / "template"
    shutil.copytree(workshop.template(), copied)
    product = copied / "template"
    for name in (MANAGED, "Dockerfile.jinja"):
        with (product / name).open("a", encoding="utf-8") as stream:
            stream.write("# The next release says more.\n")
    (product / "NEW.md.jinja").write_text("{{ slug }} has a new page.\n", encoding="utf-8")
    (product / "SECURITY.md").unlink()
    commit(copied, "Next release")
    git(copied, "tag", NEXT_TAG)
    return copied


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """Return a project of the first release under version control."""
    return begin(template, tmp_path / "project", FIRST_TAG)


def begin(template: Path, target: Path, tag: str, *options: str) -> Path:
    """Copy a release and commit the project."""
    command = [COPIER, "copy", "--quiet", "--defaults", f"--vcs-ref={tag}", *options, str(template), str(target)]
    run(template.parent, *command, check=True)
    git(target, "init", "--quiet", "--initial-branch=main")
    commit(target, "Start from the template")
    return target


def update(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Update to the newest release without trust and without a terminal."""
    done = run(project, COPIER, "update", "--defaults", *options)
    assert 0 == done.returncode, done.stderr
    return done


def test_untouched_project_becomes_the_fresh_render(template: Path, project: Path, tmp_path: Path) -> None:
    """Where nothing was edited, an update gives what a new copy gives: files come, change and go."""
    assert (project / "SECURITY.md").exists()
    done = update(project)
    assert "uv sync" in done.stderr
    fresh = begin(template, tmp_path / "fresh", NEXT_TAG)
    assert contents(fresh) == contents(project)
    assert "my-service has a new page.\n" == (project / "NEW.md").read_text(encoding="utf-8")
    assert not (project / "SECURITY.md").exists()
    assert f"_commit: {NEXT_TAG}" in (project / ".copier-answers.yml").read_text(encoding="utf-8")


def test_second_update_changes_nothing(project: Path) -> None:
    """A project that is up to date stays as it is."""
    update(project)
    commit(project, "Update")
    update(project)
    assert "" == git(project, "status", "--porcelain").stdout


def test_work_of_the_owner_stays(project: Path) -> None:
    """Edits in seeded files, new files, new dependencies and deletions survive an update."""
    service = project / SEEDED
    service.write_text(service.read_text(encoding="utf-8") + "# Ours.\n", encoding="utf-8")
    metadata = project / "pyproject.toml"
    anchor = "    # --- the template's dependencies above, yours below ---\n"
    text = metadata.read_text(encoding="utf-8")
    assert anchor in text
    metadata.write_text(text.replace(anchor, f'{anchor}    "ours>=1,<2",\n'), encoding="utf-8")
    (project / "src" / "my_service" / "domain" / "ours.py").write_text('"""Ours."""\n', encoding="utf-8")
    (project / "CHANGELOG.md").unlink()
    commit(project, "Our work")
    before = contents(project)
    update(project)
    assert "UU" not in git(project, "status", "--porcelain").stdout
    after = contents(project)
    assert {MANAGED, "Dockerfile", "NEW.md", "SECURITY.md", ".copier-answers.yml"} == {
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    }


def test_clash_is_shown_where_it_is(project: Path) -> None:
    """An edit in the place that the release changes becomes a conflict that git lists; everything else is updated."""
    managed = project / MANAGED
    managed.write_text(managed.read_text(encoding="utf-8") + "# Ours.\n", encoding="utf-8")
    commit(project, "Our rule")
    update(project)
    text = managed.read_text(encoding="utf-8")
    assert "<<<<<<<" in text
    assert "# Ours.\n" in text
    assert "# The next release says more.\n" in text
    assert f"UU {MANAGED}" in git(project, "status", "--porcelain").stdout
    marked = {name for name, content in contents(project).items() if b"<<<<<<< before" in content}
    assert {MANAGED} == marked


def test_object_is_taken_out_later(template: Path, project: Path, tmp_path: Path) -> None:
    """An object that is no longer wanted leaves the project as if it had never been chosen."""
    update(project, "--data", "objects=[genai]")
    fresh = begin(template, tmp_path / "fresh", NEXT_TAG, "--data", "objects=[genai]")
    assert contents(fresh) == contents(project)


def test_object_is_added_later(template: Path, tmp_path: Path) -> None:
    """An object that was not chosen at first comes with an update."""
    project = begin(template, tmp_path / "small", FIRST_TAG, "--data", "objects=[]")
    update(project, "--data", "objects=[genai, diarization]")
    fresh = begin(template, tmp_path / "fresh", NEXT_TAG)
    assert contents(fresh) == contents(project)


def test_answers_file_is_not_needed_to_work(project: Path) -> None:
    """A project without its answers file only loses updates; nothing but the program that updates reads the file."""
    (project / ".copier-answers.yml").unlink()
    readers = {
        name for name, content in contents(project).items() if b"copier-answers" in content and not name.endswith(".md")
    }
    assert {".template/project.py", ".template/ownership.toml"} == readers
