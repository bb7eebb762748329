"""Edits: what owners do to their projects between two updates, scripted and at random, each with its traces."""

import difflib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rendering import files, git

_MINE = "src/my_service/"
_ANCHORS = {
    "pyproject.toml": "    # --- the template's dependencies above, yours below ---\n",
    "compose.yaml": "  # --- the template's services above, yours below ---\n",
}
_PROVIDER = _MINE + "adapters/genai/echo.py"
_ROUTE = '''"""Hours, put together: a route of our own."""

from typing import TYPE_CHECKING

from ..chassis.config.settings import Settings
from ..chassis.features import Feature

if TYPE_CHECKING:
    from fastapi import APIRouter


def router(settings: Settings) -> "APIRouter":
    """Return the routes."""
    del settings
    from fastapi import APIRouter  # noqa: PLC0415 - no web without routes

    routes = APIRouter()

    @routes.get("/v1/hours")
    async def hours() -> str:
        """Return our hours."""
        return "traced-route"

    return routes


FEATURE = Feature(name="hours", router=router)
'''
MIGRATION = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this version."""
    {up}


def downgrade() -> None:
    """Lead back to the version before."""
    {down}
'''
"""A migration of an owner: a title, and a statement for each way."""


@dataclass(slots=True)
class Traces:
    """What edits left behind, to be looked for after an update.

    Attributes:
        words: A word that stands nowhere else, and the file it was written into.
        gone: Files that were deleted or have another name.
        touched: Files that were edited in place.
    """

    words: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)

    def write(self, project: Path, path: str, text: str, *words: str) -> None:
        """Write a file in which these words stand, and note them."""
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self.touched |= {path} if target.exists() else set()
        target.write_text(text, encoding="utf-8")
        self.words |= dict.fromkeys(words, path)

    def replace(self, project: Path, path: str, old: str, new: str, *words: str) -> None:
        """Replace the first occurrence of a text, which has to be there."""
        text = (project / path).read_text(encoding="utf-8")
        assert old in text, (path, old)
        self.write(project, path, text.replace(old, new, 1), *words)

    def delete(self, project: Path, path: str) -> None:
        """Delete a file."""
        (project / path).unlink()
        self.gone.add(path)

    def rename(self, project: Path, path: str, new: str) -> None:
        """Give a file another name."""
        (project / new).parent.mkdir(parents=True, exist_ok=True)
        (project / path).rename(project / new)
        self.gone.add(path)
        self.words = {word: new if where == path else where for word, where in self.words.items()}


type Edit = Callable[[Path, Traces], None]


def dependency(project: Path, traces: Traces) -> None:
    """Depend on a package more."""
    anchor = _ANCHORS["pyproject.toml"]
    new = f'{anchor}    "humanize>=4,<5", # traced-dependency\n'
    traces.replace(project, "pyproject.toml", anchor, new, "traced-dependency")


def compose_service(project: Path, traces: Traces) -> None:
    """Have a service of our own in the compose file."""
    anchor = _ANCHORS["compose.yaml"]
    traces.replace(project, "compose.yaml", anchor, f"{anchor}  traced-compose:\n    image: ours\n", "traced-compose")


def provider(project: Path, traces: Traces) -> None:
    """Add a provider: a copy of an offline one, with changes."""
    if (project / _PROVIDER).exists():
        text = (project / _PROVIDER).read_text(encoding="utf-8").replace("Echo", "Ours").replace("echo", "ours")
        text = re.sub(r"\A\"\"\".*?\n", '"""Ours: traced-provider."""\n', text)
        traces.write(project, _MINE + "adapters/genai/ours.py", text, "traced-provider")


def setting(project: Path, traces: Traces) -> None:
    """Add a setting of an object."""
    path = _MINE + "wiring/genai.py"
    if (project / path).exists():
        place = "    params: GenAIParams ="
        new = '    shop: str = Field(default="traced-setting", description="Our shop.")\n'
        traces.replace(project, path, place, new + place, "traced-setting")


def route(project: Path, traces: Traces) -> None:
    """Add a route."""
    traces.write(project, _MINE + "wiring/hours.py", _ROUTE, "traced-route")


def readme(project: Path, traces: Traces) -> None:
    """Write into the README: at its head and at its end."""
    text = (project / "README.md").read_text(encoding="utf-8")
    head, rest = text.split("\n", 1)
    traces.write(project, "README.md", f"{head} traced-head\n{rest}\ntraced-end\n", "traced-head", "traced-end")


def example(project: Path, traces: Traces) -> None:
    """Delete an example, and what names it."""
    path = "examples/complete_genai_example.py"
    if (project / path).exists():
        traces.delete(project, path)
        listed = project / "examples/README.md"
        text = listed.read_text(encoding="utf-8")
        kept = [line for line in text.splitlines(keepends=True) if "complete_genai_example" not in line]
        traces.write(project, "examples/README.md", "".join(kept))


def recipe(project: Path, traces: Traces) -> None:
    """Have recipes of our own."""
    traces.write(project, "own.just", "# traced-recipe\nours:\n    @echo ours\n", "traced-recipe")


def ignored(project: Path, traces: Traces) -> None:
    """Ignore a file of our own."""
    text = (project / ".gitignore").read_text(encoding="utf-8")
    traces.write(project, ".gitignore", f"{text}traced-ignored\n", "traced-ignored")


def migration(project: Path, traces: Traces) -> None:
    """Add a table."""
    folder = _MINE + "migrations/versions"
    if (project / folder).exists():
        up, down = 'op.create_table("shelves", sa.Column("name", sa.String(9)))', 'op.drop_table("shelves")'
        text = MIGRATION.format(title="Shelves: traced-migration", up=up, down=down)
        traces.write(project, f"{folder}/v0002_shelves.py", text, "traced-migration")


def object_renamed(project: Path, traces: Traces) -> None:
    """Call an object differently: all of its files and every word."""
    if not (project / _MINE / "domain/diarization.py").exists():
        return
    for path, file in files(project).items():
        new = path.replace("diarization", "hearing")
        data = file.read_bytes()
        if new != path:
            traces.rename(project, path, new)
            if not path.endswith(".wav"):
                (project / new).write_bytes(data.replace(b"diarization", b"hearing") + b"# traced-object\n")
            traces.words["traced-object"] = new


SCRIPTED: dict[str, Edit] = {
    edit.__name__: edit
    for edit in (dependency, compose_service, provider, setting, route, readme, example, recipe, ignored, migration)
}
"""Edits after which a project is green, and stays so in an update."""


def beside(project: Path, traces: Traces, path: str, base: str, new: str) -> None:
    """Edit the line before the first place of a file that an update changes."""
    lines, first = base.splitlines(keepends=True), _changed(base, new)[0][0]
    at = max(0, first - 1)
    lines[at] = lines[at].rstrip("\n") + " # traced-beside\n"
    traces.write(project, path, "".join(lines), "traced-beside")


def far(project: Path, traces: Traces, path: str, base: str, new: str) -> bool:
    """Edit a line of a file that is far from all places that an update changes; return whether there is one."""
    lines, places = base.splitlines(keepends=True), _changed(base, new)
    found = [
        at
        for at, line in enumerate(lines)
        if line.startswith("#") and all(at < first - 4 or at > last + 4 for first, last in places)
    ]
    if found:
        lines.insert(found[-1] + 1, "# traced-far\n")
        traces.write(project, path, "".join(lines), "traced-far")
    return bool(found)


def _changed(base: str, new: str) -> list[tuple[int, int]]:
    """Return first and last line of each place of the old text that differs in the new one."""
    matcher = difflib.SequenceMatcher(a=base.splitlines(), b=new.splitlines(), autojunk=False)
    return [(i, j) for tag, i, j, _, _ in matcher.get_opcodes() if tag != "equal"]


def scramble(project: Path, traces: Traces, seed: int, edits: int = 30) -> None:
    """Insert, replace and delete lines, rename, move and delete files, as a seed decides."""
    dice = random.Random(seed)  # noqa: S311 - the same edits for the same seed
    for number in range(edits):
        texts = sorted(path for path in files(project) if not path.endswith((".wav", ".copier-answers.yml")))
        path = dice.choice(texts)
        match dice.choices(("insert", "replace", "cut", "rename", "move", "delete"), (6, 6, 3, 1, 1, 1))[0]:
            case "rename":
                folder, _, name = path.rpartition("/")
                traces.rename(project, path, f"{folder}/renamed{number}_{name}".lstrip("/"))
            case "move":
                traces.rename(project, path, f"moved{number}/{path.rpartition('/')[2]}")
            case "delete":
                traces.words = {word: where for word, where in traces.words.items() if where != path}
                traces.delete(project, path)
            case how:
                _scratch(project, traces, path, how, f"traced-{seed}-{number}", dice)


def _scratch(project: Path, traces: Traces, path: str, how: str, word: str, dice: random.Random) -> None:
    lines = (project / path).read_text(encoding="utf-8").splitlines(keepends=True)
    at = dice.randrange(len(lines) + 1) if how == "insert" else dice.randrange(max(1, len(lines)))
    lost = {old for old in traces.words if how != "insert" and lines and old in lines[at]}
    traces.words = {old: where for old, where in traces.words.items() if old not in lost}
    if how == "insert":
        lines.insert(at, f"{word}\n")
    elif lines and how == "replace":
        lines[at] = f"{word}\n"
    elif lines:
        del lines[at]
    traces.write(project, path, "".join(lines), *([word] if how != "cut" and lines else []))


def lost(project: Path, traces: Traces, said: str) -> list[str]:
    """Return what an update lost: words in no file whose file it does not name, and files that came back."""
    texts = "".join(file.read_text(encoding="utf-8", errors="replace") for file in files(project).values())
    words = [f"{word} of {path}" for word, path in traces.words.items() if word not in texts and path not in said]
    return words + [f"{path} is back" for path in sorted(traces.gone) if (project / path).exists()]


def conflicted(project: Path) -> set[str]:
    """Return the files that git lists with conflicts."""
    return set(git(project, "diff", "--name-only", "--diff-filter=U").stdout.split())
