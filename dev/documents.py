"""Documents: builds the template's pages as a site of files below `.site`, and refuses what leads nowhere.

    python3 dev/documents.py

The folder `.site/VERSION` goes to any server of files, as it is; its pages ask no other server for anything.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools import ROOT, environment, sync, uv

INDEX = "docs/README.md"
_FIRST, _LAST = ("README.md", INDEX), ("CHANGELOG.md",)
_OF_A_SERVICE = ("template/docs/checklist.md", "template/docs/ownership.md")
"""Pages that are the same in every service, so that others may link to them."""
_BESIDE = ("LICENSE",)
_PLACE = re.compile(r"^(?P<section>## .+)|^(?P<group>[^-|\n][^\n]*:)$|\]\((?P<page>[^)#:\s]+\.md)\)", re.MULTILINE)
_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
_ON_REQUEST = re.compile(r'class="[^"]*\b(?:mermaid|glightbox|pyodide)\b')
"""What the theme's program fetches another program for, from a server that is not ours."""

type Places = list[dict[str, "str | Places"]]


def pages(root: Path) -> list[str]:
    """Return the paths of all pages of the site."""
    below = sorted(path.relative_to(root).as_posix() for path in (root / "docs").rglob("*.md"))
    return [*_FIRST, *_LAST, *_OF_A_SERVICE, *(name for name in below if name not in _FIRST)]


def navigation(root: Path) -> Places:
    """Return the places of the pages, in the sections, the groups and the order of the index."""
    places: Places = [{title(root / name): name} for name in _FIRST]
    here: Places = places
    section: Places = places
    for found in _PLACE.finditer((root / INDEX).read_text(encoding="utf-8")):
        if found["section"]:
            section = here = []
            places.append({found["section"].removeprefix("## "): section})
        elif found["group"] and section is not places:
            here = []
            section.append({found["group"].removesuffix(":"): here})
        elif found["page"]:
            name = f"docs/{found['page']}"
            here.append({title(root / name): name})
    of_a_service: Places = [{title(root / name): name} for name in _OF_A_SERVICE]
    last: Places = [{title(root / name): name} for name in _LAST]
    return [*places, {"Of every service": of_a_service}, *last]


def title(page: Path) -> str:
    """Return the headline of a page; its path when it does not exist, which the build then says."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE) if page.exists() else None
    return found[1].replace("`", "") if found else page.as_posix()


def missing(root: Path) -> list[str]:
    """Return a sentence for each page to which the index does not lead."""
    placed = set(re.findall(r'"([^"]+\.md)"', json.dumps(navigation(root))))
    return [f"{INDEX} does not link to {name}: nobody would find it." for name in pages(root) if name not in placed]


def build(root: Path, target: Path) -> list[str]:
    """Build the site of a template, in place of what lies in the target; return what is wrong, and build nothing then.

    What the index leaves out is said before anything is built. Links between pages, with their headlines, are checked
    by zensical, all others afterwards.
    """
    if refused := missing(root):
        return refused
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder).resolve()
        for name in (*pages(root), *_BESIDE):
            (stage / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, stage / "source" / name)
        (stage / "site.yml").write_text(json.dumps(_settings(root)), encoding="utf-8")
        command = [str(uv()), "run", "--project", str(ROOT), "zensical", "build", "--strict", "-f", "site.yml"]
        done = subprocess.run(
            command, cwd=stage, env=environment() | {"NO_COLOR": "1"}, check=False, capture_output=True, text=True
        )
        if done.returncode:
            return [(done.stdout + done.stderr).partition("Traceback")[0].rstrip()]
        if refused := sorted(wrong(stage / "site")):
            return refused
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(stage / "site", target)
    return []


def wrong(site: Path) -> Iterator[str]:
    """Yield a sentence for each link to a file that is not there, and for each thing that another server would give."""
    for page in sorted(site.rglob("*.html")):
        text, name = page.read_text(encoding="utf-8"), page.relative_to(site).as_posix()
        reader = _Addresses()
        reader.feed(text)
        for address in reader.loaded:
            if urlsplit(address).netloc:
                yield f"{name} loads {address}: a page needs nothing from other servers."
        for address in (*reader.loaded, *reader.links):
            parts = urlsplit(address)
            start = site if parts.path.startswith("/") else page.parent
            if not (parts.scheme or parts.netloc or (start / unquote(parts.path).lstrip("/")).exists()):
                yield f"{name} leads to {address}: there is no such file."
        if _ON_REQUEST.search(text):
            yield f"{name} shows what a program of another server has to draw: use plain text or an image."


class _Addresses(HTMLParser):
    """What a page loads, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        elif (name := _LOADED.get(tag)) and given.get(name) and given.get("rel") != "canonical":
            self.loaded.append(str(given[name]))


def version(root: Path) -> str:
    """Return the release that lies in a folder."""
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _settings(root: Path) -> dict[str, object]:
    """Return what zensical is told: pages as files that need no server, and no extension that ours do not use."""
    return {
        "site_name": f"Object service template {version(root)}",
        "copyright": "",
        "docs_dir": "source",
        "site_dir": "site",
        "use_directory_urls": False,
        "nav": navigation(root),
        "theme": {"font": False, "features": ["navigation.sections", "navigation.indexes", "content.code.copy"]},
        "extra": {"generator": False},
        "markdown_extensions": [
            "tables",
            "sane_lists",
            {"toc": {"permalink": True}},
            {"pymdownx.highlight": {"anchor_linenums": False}},
            {"pymdownx.superfences": {"custom_fences": []}},
        ],
    }


def main() -> int:
    """Build the site of this folder; return 0, or say what is wrong and return 1."""
    sync()
    target = ROOT / ".site" / version(ROOT)
    if refused := build(ROOT, target):
        print(*refused, sep="\n", file=sys.stderr)
        return 1
    print(f"The pages of {version(ROOT)} are in {target.relative_to(ROOT)}: open its index.html.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
