"""Adoption: an existing service follows the page, loses nothing, and is updated like any other from then on."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pages import Reader
from releases import LATER, NEXT, releases
from rendering import Workshop, git, run
from tools import ROOT, environment, uv

PAGE = ROOT / "docs" / "how-to" / "adopt-the-template.md"
SECOND_HALF = "## 6. "
"""Where the old application has been seen to answer under the new roof."""
HISTORY = ROOT / "tests" / "data" / "existing_service.mbox"
"""The commits of a service that was written without the template, as `git format-patch` writes them."""
COMMITS = [
    "Open the client once",
    "Run it in a container, and the tests on every push",
    "Refuse texts that are too long",
    "Test the routes",
    "Translate texts with DeepL",
]
LOCAL = {
    ".env": "DEEPL_KEY=the-key\nDEEPL_URL={url}\n",
    "glossaries/shop.csv": "Hello,Moin\n",
    ".python-version": "3.12.1\n",
}
"""Files that git ignores; the page moves the last one out of the way."""
MOVED = {"app/__init__.py", "app/config.py", "app/deepl.py", "app/main.py", "tests/test_app.py"}
"""Files whose code has found another place in the end."""
AS_THEY_WERE = {"CHANGELOG.md"}
"""Files that both sides have, and of which the owner's stays."""
READER = {
    "GIT_AUTHOR_NAME": "Reader",
    "GIT_AUTHOR_EMAIL": "reader@example.org",
    "GIT_COMMITTER_NAME": "Reader",
    "GIT_COMMITTER_EMAIL": "reader@example.org",
    "NO_PROXY": "127.0.0.1",
    "PHRASEBOOK_HTTP__PORT": "{port}",
}


@contextmanager
def deepl() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Run a server that translates every text as `Hallo`; yield its URL and what it was asked."""
    asked: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"translations": [{"text": "Hallo"}]}')

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def existing(folder: Path, url: str) -> Path:
    """Return the service as its owners have it: their commits, and files that git ignores."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "am", "--quiet", str(HISTORY))
    for name, text in LOCAL.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.format(url=url), encoding="utf-8")
    assert "" == git(folder, "status", "--porcelain").stdout
    return folder


def adopted(workshop: Workshop, project: Path, url: str) -> list[str]:
    """Do what the page says, with the release that lies on disk; return the commands."""
    home = project.parent / "hooks"
    variables = {
        **READER,
        "PATH": f"{Path(sys.executable).parent}:{environment()['PATH']}",
        "PRE_COMMIT_HOME": str(home),
    }
    replaced = {
        "copier copy": f"copier copy --defaults --quiet --vcs-ref=v{NEXT}",
        "/absolute/path/of/the/template": str(releases(workshop)),
    }
    person = Reader(project, variables, {}, replaced)
    first, title, second = PAGE.read_text(encoding="utf-8").partition(SECOND_HALF)
    try:
        person.follow(first)
        person.leave()
        # what follows reads the new variables, of which the page leaves out this one
        person.variables = {**variables, "PHRASEBOOK_PROVIDERS__DEEPL__BASE_URL": url}
        person.follow(title + second)
    finally:
        person.leave()
    return person.done


@pytest.mark.gate
def test_an_existing_service_adopts_the_template(workshop: Workshop, tmp_path: Path) -> None:
    """The page leads from a foreign service to a green one that has everything it had, and that updates reach."""
    with deepl() as (url, asked):
        project = existing(tmp_path / "phrasebook", url)
        before = texts(project, "HEAD")
        done = adopted(workshop, project, url)
    call = ("DeepL-Auth-Key the-key", {"text": ["Hello"], "target_lang": "DE"})
    assert [call, call] == asked
    assert "uv run just check" in done
    assert 2 == done.count("uv run phrasebook serve")
    check_files(project, before)
    check_ignored(project, url)
    check_history(project)
    check_update(project)


def texts(project: Path, revision: str) -> dict[str, str]:
    """Return the text of every file of a commit."""
    paths = git(project, "ls-tree", "-r", "--name-only", revision).stdout.splitlines()
    return {path: git(project, "show", f"{revision}:{path}").stdout for path in paths}


def check_files(project: Path, before: dict[str, str]) -> None:
    """Check that every tracked file of the owner is there, with the owner's lines, or has moved as the page says."""
    after = texts(project, "main")
    assert MOVED == set(before) - set(after)
    assert {path: before[path] for path in AS_THEY_WERE} == {path: after[path] for path in AS_THEY_WERE}
    assert after[".gitignore"].endswith(before[".gitignore"])
    gone = set(before["README.md"].splitlines()) - set(after["README.md"].splitlines())
    assert {"    uvicorn app.main:app --reload"} == gone
    assert "\nENV TZ=Europe/Berlin\n" in after["Dockerfile"]
    assert '\nversion = "1.2.0"\n' in after["pyproject.toml"]


def check_ignored(project: Path, url: str) -> None:
    """Check that no file that git does not know has lost a byte; the page adds to `.env`."""
    places = [project / ".env", project / "glossaries" / "shop.csv", project.parent / ".python-version"]
    for place, text in zip(places, LOCAL.values(), strict=True):
        assert place.read_text(encoding="utf-8").startswith(text.format(url=url)), place


def check_history(project: Path) -> None:
    """Check that the commits of the owner are those of the service, and lead from file to file."""
    assert "" == git(project, "status", "--porcelain").stdout
    assert COMMITS == git(project, "log", "--format=%s").stdout.splitlines()[-len(COMMITS) :]
    followed = git(project, "log", "--format=%s", "--follow", "main~1", "--", "src/app/main.py").stdout.splitlines()
    assert [COMMITS[0], COMMITS[2], COMMITS[4]] == [subject for subject in followed if subject in COMMITS]


def check_update(project: Path) -> None:
    """Check that an update merges, and that it leaves what is the owner's as it is."""
    before = texts(project, "main")
    done = run(project, str(uv()), "run", "--frozen", "just", "update", "--no-check")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"to v{LATER}" in done.stdout
    assert "CONFLICTS" not in done.stdout
    own = [path for path in before if path in {"README.md", *AS_THEY_WERE} or "/transl" in path or "deepl" in path]
    assert len(own) >= 10
    assert [] == [path for path in own if before[path] != (project / path).read_text(encoding="utf-8")]
    both = (project / "Dockerfile").read_text(encoding="utf-8")
    assert "\n# Of the next release.\n" in both
    assert "\nENV TZ=Europe/Berlin\n" in both


def test_the_service_of_the_page_is_foreign() -> None:
    """Nothing of the template is in the service that adopts it: neither its answers nor its package."""
    text = HISTORY.read_text(encoding="utf-8")
    assert len(COMMITS) == text.count("\nSubject: [PATCH ")
    assert [] == [word for word in (".copier-answers", "chassis", "uv_build", "justfile") if word in text]
