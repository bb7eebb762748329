"""The site: every page of the template as a file that a browser opens, with links that lead somewhere."""

import json
import re
import shutil
from pathlib import Path

import pytest

from documents import INDEX, build, missing, navigation, pages, version, wrong
from pages import blocks
from rendering import DEFAULT, FULLEST, MINIMAL, Answers, Workshop, questions
from tools import ROOT

DECISIONS = ROOT / "docs" / "explanation" / "decisions"
OF_THE_TEMPLATE = {
    f"how-to/{name}"
    for name in ("adopt-the-template", "fork-for-an-organisation", "keep-a-fleet", "maintain-the-template")
}
"""Guides for those who have no service yet, or keep the template."""
PLANTED = "\n[page](nothing.md), [headline](run-jobs.md#nothing)\n"


@pytest.fixture(scope="module")
def site(workshop: Workshop) -> Path:
    """Return the site of this repository."""

    def make(target: Path) -> None:
        assert [] == build(ROOT, target)

    return workshop.once("site", make)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """Return the pages of the template, for changes."""
    for name in (*pages(ROOT), "LICENSE", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.gate
def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    """The strict build writes each page, with its tables and blocks, and the first page leads to all of them."""
    first = (site / "index.html").read_text(encoding="utf-8")
    for name in pages(ROOT):
        built = re.sub(r"(README)?\.md$", lambda found: "index.html" if found[1] else ".html", name)
        text, source = (site / built).read_text(encoding="utf-8"), (ROOT / name).read_text(encoding="utf-8")
        assert re.search(rf'href="(\./)?{re.escape(built)}"', first), name
        assert text.count('<div class="highlight">') + text.count("</code></pre></div>") >= len(list(blocks(source)))
        assert text.count("<table") == len(re.findall(r"^ *\|[-|: ]+\|$", source, re.MULTILINE)), name
    assert version(ROOT) in first


@pytest.mark.gate
def test_pages_need_nothing_from_other_servers(site: Path) -> None:
    """Fonts, styles and programs lie in the folder, and so does every file that a page leads to."""
    assert [] == list(wrong(site))
    assert list(site.rglob("*.js"))
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert ["data:"] * sum(style.count("url(") for style in styles) == [
        address for style in styles for address in re.findall(r"url\([\"']?(\w+:)", style)
    ]


@pytest.mark.gate
def test_a_link_that_leads_nowhere_ends_the_build(template: Path, tmp_path: Path) -> None:
    """A missing page and a missing headline are named, and nothing is written."""
    page = template / "docs" / "how-to" / "run-jobs.md"
    page.write_text(page.read_text(encoding="utf-8") + PLANTED, encoding="utf-8")
    said = "\n".join(build(template, tmp_path / "site"))
    assert "page does not exist" in said
    assert "anchor does not exist" in said
    assert "docs/how-to/run-jobs.md" in said
    assert not (tmp_path / "site").exists()


def test_a_page_that_the_index_leaves_out_ends_the_build(template: Path, tmp_path: Path) -> None:
    """Who adds a page and forgets the index is told."""
    (template / "docs" / "how-to" / "more.md").write_text("# More\n", encoding="utf-8")
    assert ["docs/README.md does not link to docs/how-to/more.md: nobody would find it."] == build(
        template, tmp_path / "site"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="../LICENSE">', "leads to ../LICENSE"),
        ('<img src="gone.svg">', "leads to gone.svg"),
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "loads //fonts.example/x.css"),
        ('<pre class="mermaid">', "has to draw"),
    ],
    ids=["link", "image", "program", "font", "drawing"],
)
def test_what_zensical_lets_pass_is_refused(tmp_path: Path, body: str, said: str) -> None:
    """Files that are not there, and whatever a browser would fetch elsewhere, are named with their page."""
    (tmp_path / "page.html").write_text(f'{body}<a href="https://docs.example/">', encoding="utf-8")
    (told,) = wrong(tmp_path)
    assert told.startswith("page.html ")
    assert said in told


def test_every_decision_is_listed() -> None:
    """The index has a row for each record, with its number and a question."""
    rows = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+\?) \|$", (ROOT / INDEX).read_text("utf-8"), re.MULTILINE)
    assert sorted(path.name for path in DECISIONS.glob("*.md")) == sorted(Path(row[1]).name for row in rows)
    assert [] == [row for row in rows if not Path(row[1]).name.startswith(row[0])]
    assert [] == missing(ROOT)
    placed = re.findall(r'"([^"]+\.md)"', json.dumps(navigation(ROOT)))
    assert [] == [name for name in pages(ROOT) if placed.count(name) != 1]


def test_groups_of_the_index_are_groups_of_the_navigation() -> None:
    """Sections, and the lines within them that end in a colon, are what a reader sees beside each page."""
    text = json.dumps(navigation(ROOT))
    for headline in ("Learn", "Do", "Providers and objects", "Operation", "Understand", "Understand: decisions"):
        assert f'{{"{headline}": [' in text


@pytest.mark.gate
@pytest.mark.parametrize("answers", [MINIMAL, DEFAULT, FULLEST], ids=["minimal", "default", "fullest"])
def test_a_service_names_pages_of_its_release(workshop: Workshop, site: Path, answers: Answers) -> None:
    """Each page that a service names is in the repository and in the site; without an address there is no link."""
    text = (workshop.render(answers) / "docs" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^- .+: `(\S+)\.md`$", text, re.MULTILINE)
    assert len(named) >= 6
    for name in named:
        assert (ROOT / "docs" / f"{name}.md").exists(), name
        assert (site / "docs" / f"{name.replace('README', 'index')}.html").exists(), name
    if answers == FULLEST:
        guides = {f"how-to/{path.stem}" for path in (ROOT / "docs/how-to").glob("*.md")}
        assert OF_THE_TEMPLATE | {"how-to/continuous-integration"} == guides - set(named)
    assert "://" not in text
    assert f"at the tag v{version(ROOT)}." in text


def test_the_release_that_is_rendered_is_this_one(workshop: Workshop) -> None:
    """The pages that a service names are those of the version that the template has."""
    assert version(ROOT) == questions(workshop.template())["template_version"]["default"]
