"""New resource: writes a resource from the scaffold beside it, for the recipe `just new-resource`."""
# ruff: noqa: INP001 - a script

import re
import sys
from functools import partial
from pathlib import Path

from scaffolds.new import PACKAGE, PROJECT, SERVICE, Made, RefusedError, check, check_free, class_of, main, write


def new_resource(name: str) -> Made:
    """Write a resource: its table with a migration, its routes and their test."""
    versions = PROJECT / "src" / PACKAGE / "migrations" / "versions"
    if not versions.is_dir():
        raise RefusedError(f"there is no {versions.relative_to(PROJECT)} for its migration")
    check(name, "a resource")
    check_free(name)
    head, revision = next_revision(versions)
    names = {"object": name, "Object": class_of(name), "revision": revision, "down_revision": head}
    return write("resource", names), {
        f"uv run {SERVICE} migrate": "makes its table; change the migration together with the table until then",
        f"uv run {SERVICE} serve": f"answers under /v1/{name.replace('_', '-')}",
    }


def next_revision(versions: Path) -> tuple[str, str]:
    """Return the migration that the next one follows on, empty for the first one, and the number of the next one."""
    texts = [path.read_text(encoding="utf-8") for path in versions.glob("*.py")]
    known = {
        match[1] for text in texts if (match := re.search(r"""^revision\b.*=\s*["'](\w+)["']""", text, re.MULTILINE))
    }
    followed = {
        word
        for text in texts
        for line in re.findall(r"^down_revision\b.*", text, re.MULTILINE)
        for word in re.findall(r"""["'](\w+)["']""", line)
    }
    heads = sorted(known - followed)
    if len(heads) > 1:
        raise RefusedError(f"your migrations have several heads, {', '.join(heads)}; let one follow on the other first")
    number = len(known) + 1
    while f"{number:04d}" in known:
        number += 1
    return "".join(heads), f"{number:04d}"


if __name__ == "__main__":
    sys.exit(main(partial(new_resource, *sys.argv[1:])))
